"""Train and evaluate code language models that learn from execution feedback (RLEF)."""

__version__ = "0.1.0"
