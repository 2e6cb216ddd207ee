"""A large book between two ticks."""
