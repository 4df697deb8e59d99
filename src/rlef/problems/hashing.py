"""Names what an episode's outcome depends on."""

import hashlib
import json

from rlef.problems.types import Problem

_CHARS = 16


def problem_hash(problem: Problem) -> str:
    """Names the statement, the tests and how they are judged; not the problem's name."""
    parts = (problem.public_tests, problem.private_tests)
    tests = [[[t.input, t.output] for t in part] for part in parts]
    words = (problem.statement, tests, problem.mode, problem.entry_point, problem.language)
    rest = (problem.prelude, problem.checker, problem.checker_source)
    limits = (problem.cpu_s, problem.memory_mb)
    text = json.dumps([*words, *rest, *limits])
    return hashlib.sha256(text.encode()).hexdigest()[:_CHARS]
