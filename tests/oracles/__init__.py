"""Slow, obvious second implementations that the engine is held to."""
