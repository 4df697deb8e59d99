"""The error of everything that reads problems."""


class ProblemError(ValueError):
    """Problems cannot be loaded. One line: where, what, and what is allowed instead."""
