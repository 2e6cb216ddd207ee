"""Is the model right: back-tests, procyclicality, coverage, impulse response."""
