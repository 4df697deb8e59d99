"""The comparison of SandboxFusion's ``/submit``: lines in either case, numbers by 1e-5."""


def same_stdout(expected: str, actual: str) -> bool:
    """Whether what a program printed is what was expected.

    Lines are compared without blanks around them and in lower case; two that are numbers may differ
    by 1e-5 of the expected one.
    """
    want, got = expected.strip().split("\n"), actual.strip().split("\n")
    return len(want) == len(got) and all(map(_same_line, want, got))


def _same_line(want: str, got: str) -> bool:
    want, got = want.lower(), got.lower()
    if want.strip() == got.strip():
        return True
    try:
        expected, actual = float(want), float(got)
    except ValueError:
        return False
    return abs(actual - expected) / max(abs(expected), 1e-10) < 1e-5
