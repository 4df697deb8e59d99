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
    from rlef.problems import Test
    from rlef.sandbox.checker_text import Checker
    from rlef.sandbox.checker_values import NotJsonError, make_value_checker
    from rlef.sandbox.checkers import make_checker, make_json_checker

SYMMETRIC = ("tokens", "lines", "exact", "case-blind", "unordered-lines", "sorted-tokens", "set")
TEXT = (*SYMMETRIC, "float", "float(abs=0,rel=0)", "float(abs=0.1,rel=0.1)")
MODES = ("compat:lcb", "compat:code_contests", "compat:apps")
JSON = ("tokens", "float", "unordered-lines")
VALUES = ("tokens", "float", "unordered-lines", "compat:lcb-call", "compat:apps-call")
FORMS = (b'[1, 2.5, {"a": null}]', b'{"__python__": "(1, {2: b\'x\'}, {3, 4}, -0.0)"}')


def value_checker(spec: str) -> Checker:
    """Takes the result of a function against one of two values: which, its length says."""
    check = make_value_checker(spec, lambda: 1 / 0).check  # type: ignore[arg-type,return-value]

    def compare(expected: bytes, actual: bytes) -> str | None:
        wanted = FORMS[len(expected) % len(FORMS)]
        try:
            return check(Test("[]", wanted.decode()), wanted, actual)
        except NotJsonError as error:
            return str(error)

    return compare


ALL = [
    *((spec, make_checker(spec), spec in SYMMETRIC, spec in TEXT) for spec in TEXT + MODES),
    *((f"json {spec}", make_json_checker(spec), spec != "float", False) for spec in JSON),
    *((f"values {spec}", value_checker(spec), False, False) for spec in VALUES),
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
