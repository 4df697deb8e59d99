"""The algorithms layer."""
