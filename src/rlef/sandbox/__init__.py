"""The sandbox layer."""
