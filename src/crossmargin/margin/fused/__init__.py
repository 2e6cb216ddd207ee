"""The complete requirement of many accounts in one pass."""
