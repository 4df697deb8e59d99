"""The mini problem set: small programming problems in English, made by a seeded generator.

Splits share no family, so a test problem asks for a combination that no training problem has.
Choose on "valid"; "test" is for figures at the end ("dev" was, until recipes were chosen on it).
Seven in ten problems leave a detail of the output out (``Problem.hidden_detail``): only a failed
public test tells it. Start at ``families.py``.
"""

from rlef.problems.mini.generate import Specimen, mutants
from rlef.problems.mini.splits import families_of, fresh_specimens, load_specimens, load_split

__all__ = ["Specimen", "families_of", "fresh_specimens", "load_specimens", "load_split", "mutants"]
