"""The learner layer."""
