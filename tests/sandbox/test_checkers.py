import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlef.sandbox.checkers import make_checker, make_json_checker

BLANKS = st.text(" \t\n\r\v\f", min_size=1, max_size=3).map(str.encode)
TOKENS = st.lists(st.text("ab1.-", min_size=1, max_size=4).map(str.encode), max_size=6)


@pytest.mark.parametrize(
    ("spec", "expected", "actual", "accepted"),
    [
        ("tokens", b"1 2\n", b"1\r\n2", True),
        ("tokens", b"1 2", b"1 2 ", True),
        ("tokens", b"1 2", b"12", False),
        ("tokens", b"1", b"1.0", False),
        ("tokens", b"Yes", b"yes", False),
        ("tokens", b"a b", b"a\xc2\xa0b", False),
        ("tokens", b"a b", b"a\x00b", False),
        ("tokens", b"", b"\n", True),
        ("tokens", b"", b"0", False),
        ("lines", b"a b\n\nc\n", b"a b  \r\n\nc", True),
        ("lines", b"a b", b"a  b", False),
        ("lines", b" a", b"a", False),
        ("lines", b"a\n\nb", b"a\nb", False),
        ("exact", b"a\n", b"a\n", True),
        ("exact", b"a\n", b"a", False),
        ("float", b"1.0", b"1", True),
        ("float", b"1.0", b"1.0000009", True),
        ("float", b"1.0", b"1.0000021", False),
        ("float", b"1000000.0", b"1000000.9", True),
        ("float", b"1000000.0", b"1000001.1", False),
        ("float", b"9007199254740993", b"9007199254740992", False),
        ("float", b"7", b"+7", True),
        ("float", b"7", b"7.0", False),
        ("float", b"nan", b"nan", True),
        ("float", b"1.0", b"nan", False),
        ("float", b"1.0", b"1_0e-1", False),
        ("float", b"1e999", b"2e999", False),
        ("float", b"1.0", "\uff11.0".encode(), False),
        ("float", b"1.5 x", b"1.5 y", False),
        ("float(abs=0.1,rel=0)", b"100.0", b"100.09", True),
        ("float(abs=0.1,rel=0)", b"100.0", b"100.2", False),
        ("float(abs=0, rel=0.01)", b"100.0", b"101.0", True),
        ("float(rel=0.1)", b"100.0", b"109.0", True),
        ("float()", b"1.0", b"1.0", True),
    ],
)
def test_what_each_checker_accepts(
    spec: str, expected: bytes, actual: bytes, accepted: bool
) -> None:
    difference = make_checker(spec)(expected, actual)
    assert (difference is None) == accepted, difference


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("token", "unknown checker 'token'; allowed: tokens, lines, exact, float"),
        ("", "unknown checker"),
        ("floats", "unknown checker"),
        ("float(eps=1)", "wrong part 'eps=1'"),
        ("float(abs=x)", "wrong part 'abs=x'"),
        ("float(abs=-1)", "wrong part 'abs=-1'"),
        ("float(abs=inf)", "allowed"),
    ],
)
def test_wrong_checkers_are_named(spec: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        make_checker(spec)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "expected", "actual", "message"),
    [
        ("tokens", b"1 2 3", b"1 9 3", "token 2: expected '2', got '9'"),
        ("tokens", b"1 2", b"1", "token 2: expected '2', got the end of the output"),
        ("tokens", b"1", b"1 2", "token 2: expected the end of the output, got '2'"),
        ("lines", b"a\nb c", b"a\nbc", "line 2: expected 'b c', got 'bc'"),
        ("exact", b"ab", b"a", "byte 2: expected 'b', got ''"),
        ("tokens", b"x", b"y" * 99, "token 1: expected 'x', got '" + "y" * 60 + "…'"),
        ("tokens", b"x", b"\xff", "token 1: expected 'x', got '\\\\xff'"),
    ],
)
def test_the_first_difference_is_told(
    spec: str, expected: bytes, actual: bytes, message: str
) -> None:
    assert make_checker(spec)(expected, actual) == message


@given(TOKENS, st.data())
def test_tokens_do_not_depend_on_blanks(tokens: list[bytes], data: st.DataObject) -> None:
    def spread() -> bytes:
        return b"".join(data.draw(BLANKS) + token for token in tokens) + data.draw(BLANKS)

    assert make_checker("tokens")(spread(), spread()) is None


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_stricter_checkers_accept_less(expected: bytes, actual: bytes) -> None:
    accepts = {
        spec: make_checker(spec)(expected, actual) is None
        for spec in ("exact", "lines", "tokens", "float")
    }
    assert accepts["exact"] == (expected == actual)
    assert accepts["exact"] <= accepts["lines"] <= accepts["tokens"] <= accepts["float"]


@given(st.floats(-1e6, 1e6), st.floats(-3e-6, 3e-6))
def test_float_tolerance_is_the_formula(value: float, offset: float) -> None:
    wanted, got = f"{value:.12f}", f"{value + offset:.12f}"
    a, b = float(got), float(wanted)
    accepted = make_checker("float")(wanted.encode(), got.encode()) is None
    assert accepted == (abs(a - b) <= max(1e-6, 1e-6 * abs(b)) or wanted == got)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_equals_itself_in_any_layout(value: object) -> None:
    check = make_json_checker("tokens")
    assert check(json.dumps(value, indent=2).encode(), json.dumps(value).encode()) is None


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        (b"1", b"1", True),
        (b"1", b"1.0", False),
        (b"1", b"true", False),
        (b"[1, [2]]", b"[1,[2]]", True),
        (b"[1]", b"[1, 2]", False),
        (b'{"a": 1, "b": 2}', b'{"b":2,"a":1}', True),
        (b'{"a": 1}', b'{"a": true}', False),
        (b"null", b"0", False),
        (b"1", b"broken", False),
        (b"1", b"[" * 100_000, False),
    ],
)
def test_json_types_count(expected: bytes, actual: bytes, same: bool) -> None:
    assert (make_json_checker("tokens")(expected, actual) is None) == same
