"""Measurements of rlef on this machine, as ratios to what else runs on it: ``rlef bench``."""
