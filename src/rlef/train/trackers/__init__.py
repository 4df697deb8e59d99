"""Experiment trackers: a small adapter each, imported where it is used."""

from rlef.train.trackers.tracked import Tracked, headline_figures

__all__ = ["Tracked", "headline_figures"]
