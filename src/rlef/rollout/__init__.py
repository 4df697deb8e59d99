"""The rollout layer."""
