"""Names of measures, in the order in which they are taken; importing them needs no torch."""

SANDBOX = ("trivial", "cpu-limit", "eight", "growth", "load", "overhead")
SERVE = ("rate", "same")
TRAIN = ("phases", "compile", "memory", "vocabulary")
