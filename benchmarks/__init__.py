"""Benchmarks: ``make bench`` runs them all; ``docs/benchmarks.md`` says what each row means."""
