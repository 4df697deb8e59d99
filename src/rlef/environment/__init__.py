"""The environment layer."""
