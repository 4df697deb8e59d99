"""Fuzzes the checkers with atheris: no exception, short printable messages, the laws they keep.

    pip install atheris
    python benchmarks/fuzz_checkers.py -max_total_time=60 [more options of libFuzzer]

The first byte chooses the checker; the rest is cut at its first 0xFE byte into the expected and
the actual text.
"""

import sys
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("benchmarks/fuzz_checkers.py needs atheris: pip install atheris")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
with atheris.instrument_imports(include=["rlef.sandbox"]):
    from rlef.sandbox.checkers import make_checker, make_json_checker

SYMMETRIC = ("tokens", "lines", "exact", "case-blind", "unordered-lines", "sorted-tokens", "set")
TEXT = (*SYMMETRIC, "float", "float(abs=0,rel=0)", "float(abs=0.1,rel=0.1)")
MODES = ("compat:lcb", "compat:code_contests", "compat:apps")
JSON = ("tokens", "float", "unordered-lines")
ALL = [
    *((spec, make_checker(spec), spec in SYMMETRIC, spec in TEXT) for spec in TEXT + MODES),
    *((f"json {spec}", make_json_checker(spec), spec != "float", False) for spec in JSON),
]


def check_message(name: str, message: str | None) -> None:
    if message is not None and not (message.isprintable() and 0 < len(message) <= 400):
        raise AssertionError(f"{name}: bad message {message!r}")


def one_input(data: bytes) -> None:
    name, check, symmetric, reflexive = ALL[data[0] % len(ALL) if data else 0]
    expected, _, actual = data[1:].partition(b"\xfe")
    forth, back = check(expected, actual), check(actual, expected)
    check_message(name, forth)
    check_message(name, back)
    if symmetric and (forth is None) != (back is None):
        raise AssertionError(f"{name}: not symmetric")
    if reflexive and check(expected, expected) is not None:
        raise AssertionError(f"{name}: refuses the expected text")


def main() -> None:
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
