"""The evaluation layer."""
