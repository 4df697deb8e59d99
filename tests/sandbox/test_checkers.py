import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rlef.sandbox.checker_values import compare_values
from rlef.sandbox.checkers import function_rules, make_checker, make_json_checker

TEXT_CHECKERS = (
    "tokens",
    "lines",
    "exact",
    "float",
    "float(abs=0,rel=0)",
    "case-blind",
    "unordered-lines",
    "sorted-tokens",
    "set",
    "compat:lcb",
    "compat:code_contests",
    "compat:apps",
)

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
        ("float", b"7", b"7.0", True),
        ("float", b"2", b"1.9999990", True),
        ("float", b"2", b"2.0000021", False),
        ("float", b"0", b"-0.0", True),
        ("float", b"0", b"-0", False),
        ("float", b"7", b"07", False),
        ("float", b"7", b"07.", True),
        ("float", b"7 0.5 3", b"7.0 0.5 4", False),
        ("float(abs=0,rel=0)", b"9007199254740993", b"9007199254740992.0", False),
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
        ("float", b"7", b"07", False),
        ("float", b"0", b"-0", False),
        ("float", b"+7", b"7", True),
        ("float", b"7", b"++7", False),
        ("float", b"7 1.0", b"+7 1", True),
        ("float", b"7 1.0", b"8 1", False),
        ("float", b"7.", b".7e1", True),
        ("float", b"1e2", b"100", True),
        ("float", b"100", b"1e2", True),
        ("float", b"16.0", b"0x10", False),
        ("float", b".", b"0.0", False),
        ("float", b"1.0", b"1.0e", False),
        ("float", b"0.0", b"1e-999999999999999999999999", True),
        ("float", b"0e999999999999999999999999", b"0.0", True),
        ("float", b"1e999999", b"1.0e999999", False),
        ("float", b"1e999999", b"1e999999", True),
        ("float(abs=0.1,rel=0)", b"0.3", b"0.4", True),  # in doubles 0.4 - 0.3 > 0.1
        ("float(abs=0.1,rel=0)", b"0.3", b"0.4" + b"0" * 1000 + b"1", False),
        ("float(abs=0,rel=0)", b"1.50", b"15e-1", True),
        ("float(abs=0,rel=0)", b"1.0", b"1.00000000000000000001", False),
        ("float(abs=0,rel=1)", b"1e308", b"-1e307", False),
        ("float(abs=1e308,rel=9)", b"1e308", b"-1e308", True),
        ("case-blind", b"Yes NO", b"YES no", True),
        ("case-blind", b"Yes", b"Ye", False),
        ("case-blind", "É".encode(), "é".encode(), False),
        ("unordered-lines", b"a b\nc\nc", b"c\n\nc \r\na b\n", True),
        ("unordered-lines", b"a\na\nb", b"a\nb\nb", False),
        ("unordered-lines", b"a b", b"b a", False),
        ("unordered-lines", b" a", b"a", False),
        ("sorted-tokens", b"1 2 2", b"2\n1 2", True),
        ("sorted-tokens", b"1 2 2", b"1 1 2", False),
        ("set", b"1 2 2", b"2 1 1", True),
        ("set", b"1 2", b"1 3", False),
        ("set", b"1 2", b"1", False),
        ("compat:lcb", b"1.0 2\n3\n", b" 1 2.00 \r\n3e0", True),
        ("compat:lcb", b"50000000000000000", b"50000000000000001", False),
        ("compat:lcb", b"1.0", b"1.0000001", False),
        ("compat:lcb", b"a 1.0", b"a 1", False),
        ("compat:lcb", b"a  b", b"a b", False),
        ("compat:lcb", b"1 2", b"1\n2", False),
        ("compat:lcb", b"1.0\n\n2", b"1\n2", False),
        ("compat:lcb", b"1.0 2 3\n4", b"1 2\n3 4", False),
        ("compat:lcb", b"nan", b"nan", True),
        ("compat:lcb", b"1.0 nan", b"1 nan", False),
        ("compat:lcb", b"1.0 sNaN", b"1 1", False),
        ("compat:lcb", b"Infinity", b"inf", True),
        ("compat:lcb", b"10", b"1_0", True),
        ("compat:code_contests", b"YES 1\n2", b"yes\t1.000009 2", True),
        ("compat:code_contests", b"1", b"1.00001", False),
        ("compat:code_contests", b"1e9", b"1000000001", False),
        ("compat:code_contests", b"9007199254740993", b"9007199254740992", True),
        ("compat:code_contests", b"1 2", b"1\x0c2", False),
        ("compat:code_contests", b"1", b"\x0c1", True),
        ("compat:code_contests", b"a", b"\x0ca", False),
        ("compat:code_contests", b"nan", b"nan", False),
        ("compat:code_contests", b"a inf", b"a inf", False),
        ("compat:code_contests", b"a 1e999", b"a 1e999", False),
        ("compat:code_contests", b"infinite", b"Infinite", True),
        ("compat:code_contests", b"nancy", b"nancy", True),
        ("compat:code_contests", b"9" * 400, b"9" * 400, False),
        ("compat:code_contests", b"10", b"1_0", False),
        ("compat:code_contests", b"1 2", b"1", False),
        ("compat:apps", b"a b\nc\n", b"a b \n c", True),
        ("compat:apps", b"a\n\nb", b"a\nb", True),
        ("compat:apps", b"a\nb", b"a\n\nb", True),
        ("compat:apps", b"1.0\n2", b"1.00001\n2", True),
        ("compat:apps", b"1.0", b"1.0001", False),
        ("compat:apps", b"100000", b"100001", False),
        ("compat:apps", b"100000.0", b"100001", True),
        ("compat:apps", b"-100000", b"-100001", True),
        ("compat:apps", b"1.0 2.0", b"1.00001 2.0", False),
        ("compat:apps", b"a", b"A", False),
        ("compat:apps", b"1 2", b"2 1", False),
        ("compat:apps", b"inf", b"1e999", True),
        ("compat:apps", b"nan ", b"NaN", False),
        ("compat:apps", b"a  \nb", b"a \nb", False),
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
        ("float(abs=1_0)", "wrong part 'abs=1_0'"),
        ("float(abs=\uff11)", "wrong part"),
        ("float\n", "unknown checker"),
        ("set()", "unknown checker"),
        ("compat:none", "set, compat:lcb, compat:code_contests, compat:apps"),
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
        ("tokens", b"1 2\n3 4", b"1 2\n3 5", "token 4 (line 2): expected '4', got '5'"),
        ("tokens", b"1\n2\n3", b"1\n2\n4", "token 3: expected '3', got '4'"),
        (
            "tokens",
            b"a" * 99 + b"x" + b"b" * 99,
            b"a" * 99 + b"y" + b"b" * 99,
            f"token 1, byte 100: expected '…{'a' * 40}x{'b' * 39}…', got '…{'a' * 40}y{'b' * 39}…'",
        ),
        (
            "tokens",
            b"a" * 99,
            b"a" * 98,
            f"token 1, byte 99: expected '…{'a' * 41}', got '…{'a' * 40}'",
        ),
        ("tokens", b"x", "ü".encode() * 31, f"token 1: expected 'x', got '{'ü' * 30}…'"),
        ("case-blind", b"ABC", b"abd", "token 1: expected 'ABC', got 'abd'"),
        ("exact", b"a\nb", b"a\nc", "byte 3 (line 2): expected 'b', got 'c'"),
        ("sorted-tokens", b"1 2", b"2 3", "token '1' is missing; token '3' is not expected"),
        ("sorted-tokens", b"1 1", b"1", "token '1': expected 2 of them, got 1"),
        ("unordered-lines", b"a b", b"a b\nc d", "line 'c d' is not expected"),
        ("compat:lcb", b"1\n2", b"1\n3", "line 2: expected '2', got '3'"),
        ("compat:code_contests", b"Yes", b"no", "token 1: expected 'Yes', got 'no'"),
        ("compat:apps", b"1\n2", b"1\n3", "line 2: expected '2', got '3'"),
        ("compat:apps", b"a \nb", b"a  \nb", "blanks at the ends of lines differ"),
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


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
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
        (b"1", b"1.0", True),
        (b"1.0", b"1", True),
        (b"2", b"2.0000000000000004", False),
        (b"0", b"-0.0", True),
        (b"1", b"true", False),
        (b"1.0", b"true", False),
        (b"false", b"0", False),
        (b"false", b"0.0", False),
        (b"1", b'"1"', False),
        (b'[1, {"a": [2.0, 3]}]', b'[1.0, {"a": [2, 3.0]}]', True),
        (b"9007199254740993", b"9007199254740992.0", False),
        (b"9007199254740992", b"9007199254740993.0", True),  # reads as the double ...992
        (b"1e22", b"1" + b"0" * 22, True),
        (b"1e23", b"1" + b"0" * 23, False),  # the double is 99999999999999991611392
        (b"1e23", b"99999999999999991611392", True),
        (b"1e308", b"9" * 5000, False),
        (b"9" * 5000, b"1e308", False),
        (b"[1, [2]]", b"[1,[2]]", True),
        (b"[1]", b"[1, 2]", False),
        (b'{"a": 1, "b": 2}', b'{"b":2,"a":1}', True),
        (b'{"a": 1}', b'{"a": true}', False),
        (b"null", b"0", False),
        (b"1", b"broken", False),
        (b"1", b"[" * 100_000, False),
    ],
)
def test_json_is_compared_by_value_and_booleans_are_no_numbers(
    expected: bytes, actual: bytes, same: bool
) -> None:
    assert (make_json_checker("tokens")(expected, actual) is None) == same


@pytest.mark.parametrize(
    ("spec", "expected", "actual", "same"),
    [
        ("float", b"1.0", b"1", True),
        ("float", b"1.0", b"1.0000009", True),
        ("float", b"0.3", b"0.300001", True),
        ("float", b"1.0", b"true", False),
        ("float", b"1", b"1.0", True),
        ("float", b"2", b"1.9999990", True),
        ("float", b"[2]", b"[2.0000021]", False),
        ("float", b"2", b"3", False),
        ("float", b"1", b"true", False),
        ("float(abs=0.5,rel=0)", b"1e17", b"1" + b"0" * 16 + b"1", False),
        ("float(abs=0.5,rel=0)", b"1" + b"0" * 16 + b"1", b"1e17", False),
        ("float", b"9" * 400, b"1.0", False),
        ("float", b"[1.0, {}]", b"[1.1, {}]", False),
        ("float", b"1.0", b"9" * 5000, False),
        ("float", b"1.0", b"9" * 400, False),
        ("tokens", b"0.0", b"-0.0", True),
        ("tokens", b"NaN", b"NaN", False),
        ("tokens", b"[Infinity]", b"[Infinity]", False),
        ("tokens", b"1e999", b"1e999", False),
        ("tokens", b'{"a": 1, "a": 2}', b'{"a": 1, "a": 2}', False),
        ("tokens", b'{"a": 2}', b'{"a": 1, "a": 2}', False),
        ("tokens", b"9" * 5000, b" " + b"9" * 5000, True),
        ("tokens", b"9" * 5000, b"9" * 4999 + b"8", False),
        ("tokens", b"[" + b"9" * 5000 + b"]", b'["' + b"9" * 5000 + b'"]', False),
        ("tokens", b'"\\ud800"', b'"\xed\xa0\x80"', True),
        ("tokens", b'"\\ud800"', b'"\\ud801"', False),
        ("tokens", b"[" * 300 + b"]" * 300, b"[ " * 300 + b"]" * 300, True),
        ("tokens", b"[" * 10**5 + b"]" * 10**5, b"[" * 10**5 + b"]" * 10**5, False),
        ("tokens", b"[1, 2]", b"[2, 1]", False),
        ("unordered-lines", b"[1, 2, 2]", b"[2, 1, 2]", True),
        ("unordered-lines", b"[1, 2, 2]", b"[1, 1, 2]", False),
        ("unordered-lines", b"[1]", b"[1.0]", True),
        ("unordered-lines", b"[[1, 2], 3.0]", b"[3, [1.0, 2]]", True),
        ("unordered-lines", b"[[1], 2]", b"[2, [true]]", False),
        ("unordered-lines", b"[1]", b"[true]", False),
        ("unordered-lines", b"[[1, 2], {}]", b"[{}, [1, 2]]", True),
        ("unordered-lines", b"[[1, 2]]", b"[[2, 1]]", False),
        ("unordered-lines", b'[{"a": [1], "b": 0}, 5]', b'[5, {"b": 0, "a": [1]}]', True),
        ("unordered-lines", b"3", b"3", True),
        ("unordered-lines", b"[" * 300 + b"]" * 300, b"[1]", False),
        ("unordered-lines", b"[1," + b"9" * 5000 + b"]", b"[" + b"9" * 5000 + b", 1]", True),
        ("unordered-lines", b'["0x1", -0.0, 1e300]', b"[1e300, 0, 1]", False),
        ("unordered-lines", b"[1.5, -0.0, 1e300]", b"[1e300, 0, 15e-1]", True),
        ("unordered-lines", b"[0.1, 9007199254740993]", b"[9007199254740992, 0.1]", False),
    ],
)
def test_json_rules(spec: str, expected: bytes, actual: bytes, same: bool) -> None:
    difference = make_json_checker(spec)(expected, actual)
    assert (difference is None) == same, difference


def test_numbers_with_one_hash_are_compared_in_linear_time() -> None:
    alike = [n * (2**61 - 1) for n in range(100_000)]
    expected, actual = (json.dumps(found).encode() for found in (alike, alike[::-1]))
    assert make_json_checker("unordered-lines")(expected, actual) is None


@pytest.mark.parametrize(
    ("spec", "expected", "actual", "message"),
    [
        ("tokens", b"[1, 3]", b"[1, 2]", "expected '[1, 3]', got '[1, 2]'"),
        ("tokens", b"1", b"x", "expected '1', got 'x', which is not JSON: Expecting value"),
        ("tokens", b"x", b"1", "the expected value 'x' is not JSON: Expecting value"),
        ("tokens", b"1", b"NaN", "expected '1', got 'NaN', which is not JSON: NaN is no number"),
        (
            "tokens",
            json.dumps({"a": [*range(99), [1]]}).encode(),
            json.dumps({"a": [*range(99), [2]]}).encode(),
            "at ['a'][99][0]: expected '1', got '2'",
        ),
        (
            "tokens",
            json.dumps([0] * 99).encode(),
            json.dumps([0] * 98).encode(),
            "at [98]: expected '0', got nothing",
        ),
        (
            "unordered-lines",
            b'["a", "b"]',
            b'["a", "c"]',
            "item '\"b\"' is missing; item '\"c\"' is not expected",
        ),
    ],
)
def test_json_messages(spec: str, expected: bytes, actual: bytes, message: str) -> None:
    assert str(make_json_checker(spec)(expected, actual)).startswith(message)


@pytest.mark.parametrize("spec", ["case-blind", "sorted-tokens", "set", "compat:lcb"])
def test_checkers_for_text_refuse_functions(spec: str) -> None:
    with pytest.raises(ValueError, match=f"checker '{spec}' is for printed text; allowed in funct"):
        make_json_checker(spec)


# References: slow, and written without regard to how the checkers work.

BLANK = frozenset(b" \t\n\r\v\f")
PIECES = st.sampled_from([b" ", b"\n", b"\r\n", b"\t", b"\x0b", b"\x0c", b"\x00", b"\xc2\xa0"])
SMALL = st.lists(PIECES | st.sampled_from([b"a", b"A", b"1", b"0", b"-", b"b"]), max_size=12)
TEXTS = SMALL.map(b"".join)


def cut(text: bytes) -> list[bytes]:
    found, token = [], b""
    for byte in [*text, 32]:
        if byte not in BLANK:
            token += bytes([byte])
        elif token:
            found.append(token)
            token = b""
    return found


def rows(text: bytes) -> list[bytes]:
    found = [b""]
    for byte in text:
        if byte == 10:
            found.append(b"")
        else:
            found[-1] += bytes([byte])
    for i, row in enumerate(found):
        while row and row[-1] in BLANK:
            row = row[:-1]
        found[i] = row
    while found and not found[-1]:
        found.pop()
    return found


def upper(token: bytes) -> bytes:
    return bytes(byte - 32 if 97 <= byte <= 122 else byte for byte in token)


REFERENCES = {
    "tokens": cut,
    "lines": rows,
    "exact": lambda text: text,
    "case-blind": lambda text: [upper(token) for token in cut(text)],
    "unordered-lines": lambda text: Counter(row for row in rows(text) if row),
    "sorted-tokens": lambda text: sorted(cut(text)),
    "set": lambda text: set(cut(text)),
}


@pytest.mark.parametrize("spec", REFERENCES)
@given(TEXTS, TEXTS)
@example(b"a\n\n", b"a")
@example(b"", b" ")
def test_checkers_agree_with_references(spec: str, expected: bytes, actual: bytes) -> None:
    view = REFERENCES[spec]
    check = make_checker(spec)
    accepted = view(expected) == view(actual)
    assert (check(expected, actual) is None) == accepted
    assert (check(actual, expected) is None) == accepted


@given(TEXTS, st.randoms(use_true_random=False))
def test_order_does_not_count_where_it_is_free(text: bytes, random: object) -> None:
    tokens, lines = cut(text), rows(text)
    random.shuffle(tokens)  # type: ignore[attr-defined]
    random.shuffle(lines)  # type: ignore[attr-defined]
    assert make_checker("sorted-tokens")(text, b" ".join(tokens)) is None
    assert make_checker("unordered-lines")(text, b"\n".join(lines)) is None


NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


def number_is_met(want: str, got: str, absolute: str, relative: str) -> bool:
    if want == got:
        return True
    if not NUMBER.fullmatch(want) or not NUMBER.fullmatch(got):
        return False
    if not set(want + got) & set(".eE"):  # integers, both of them
        return want.removeprefix("+") == got.removeprefix("+")
    a, b = Fraction(want), Fraction(got)
    return abs(a - b) <= max(Fraction(absolute), Fraction(relative) * abs(a))


DIGITS = st.text("0123456789", max_size=5)
NUMBERS = st.builds(
    lambda sign, whole, point, part, power: sign + whole + point + part + power,
    st.sampled_from(["", "", "+", "-"]),
    DIGITS,
    st.sampled_from(["", ".", "."]),
    DIGITS,
    st.sampled_from(["", "", "", "e1", "E-5", "e+20", "e-300", "e"]),
)
NEAR = st.builds(
    lambda whole, steps, size: (f"{whole / size:.7f}", f"{(whole + steps) / size:.7f}"),
    st.integers(-(10**6), 10**6),
    st.integers(-3, 3),
    st.sampled_from([1, 10, 1000, 10**6, 10**7]),
)
ODD = st.sampled_from(["nan", "inf", "-inf", "1_0", "0x1", "\uff11", "1e", "-0", "0.0", "a"])
TOLERANCES = st.sampled_from(["0", "1e-6", "1e-7", "0.001", "0.1", "1", "3e-6"])


@given(NEAR | st.tuples(NUMBERS | ODD, NUMBERS | ODD), TOLERANCES, TOLERANCES)
@example(("0.3", "0.4"), "0.1", "0")
@example(("2.0", "2.000002"), "0", "1e-6")
@example(("-0", "0e1"), "0", "0")
def test_float_is_the_formula(pair: tuple[str, str], absolute: str, relative: str) -> None:
    want, got = (text or "0" for text in pair)
    check = make_checker(f"float(abs={absolute},rel={relative})")
    accepted = check(f"x {want}".encode(), f"x {got}".encode()) is None
    assert accepted == number_is_met(want, got, absolute, relative)


@pytest.mark.parametrize("at", [0, 4095, 4096, 4097, 40_000])
@pytest.mark.parametrize("spec", ["tokens", "lines", "float", "case-blind"])
def test_differences_are_found_in_any_batch(spec: str, at: int) -> None:
    want = [b"1.5"] * 50_000
    got = [*want]
    got[at] = b"2.5"
    unit = "line" if spec == "lines" else "token"
    found = make_checker(spec)(b"\n".join(want), b"\n".join(got))
    assert found == f"{unit} {at + 1}: expected '1.5', got '2.5'"
    short = make_checker(spec)(b"\n".join(want), b"\n".join(want[:at] or [b"2"]))
    assert short is not None and short.startswith(f"{unit} {at + 1 if at else 1}: expected '1.5'")


@pytest.mark.parametrize("spec", TEXT_CHECKERS)
@given(st.binary(max_size=80) | TEXTS, st.binary(max_size=80) | TEXTS)
def test_no_bytes_break_a_checker(spec: str, expected: bytes, actual: bytes) -> None:
    assert_one_line(make_checker(spec)(expected, actual))
    if not spec.startswith("compat"):
        assert make_checker(spec)(actual, actual) is None


@pytest.mark.parametrize("spec", ["tokens", "float", "unordered-lines"])
@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()), st.binary())
def test_no_bytes_break_a_json_checker(spec: str, expected: bytes, actual: bytes) -> None:
    check = make_json_checker(spec)
    assert_one_line(check(expected, actual))
    assert_one_line(check(actual, expected))


@given(JSON, JSON)
def test_json_differences_are_one_line(want: object, got: object) -> None:
    texts = [json.dumps([value] * 9, ensure_ascii=False) for value in (want, got)]
    for spec in ("tokens", "float", "unordered-lines"):
        expected, actual = (text.encode("utf-8", "surrogatepass") for text in texts)
        assert_one_line(make_json_checker(spec)(expected, actual))


@pytest.mark.parametrize("fill", [b"\xff", b"\x00", b"'", "\U000e0001".encode(), "\u2028".encode()])
def test_messages_stay_short(fill: bytes) -> None:
    for spec in TEXT_CHECKERS:
        for prefix in (b"", fill * 5, fill * 8, fill * 35, fill * 99):
            assert_one_line(
                make_checker(spec)(prefix + b"a" + fill * 99, prefix + b"b" + fill * 99)
            )


def assert_one_line(message: str | None) -> None:
    assert message is None or (message.isprintable() and 0 < len(message) <= 400), message


def decimal_lines(expected: bytes, actual: bytes) -> bool:
    """LiveCodeBench's steps, one line at a time."""
    want, got = (
        [line.strip() for line in text.decode("utf-8", "surrogateescape").strip().split("\n")]
        for text in (expected, actual)
    )
    if len(want) != len(got):
        return False
    for one, other in zip(want, got, strict=True):
        if one != other:
            try:
                if [Decimal(x) for x in one.split()] != [Decimal(x) for x in other.split()]:
                    return False
            except InvalidOperation:
                return False
    return True


def lower_doubles(expected: bytes, actual: bytes) -> bool:
    """DeepMind's steps: a token is text or a double."""
    want, got = ([t for t in re.split(b"[ \n\t\r\v]", x.lower()) if t] for x in (expected, actual))
    if len(want) != len(got):
        return False
    for a, b in zip(want, got, strict=True):
        try:
            if b"_" in a + b:
                raise ValueError
            same = abs(float(a) - float(b)) < 1e-5
        except ValueError:
            same = a == b
        if not same:
            return False
    return True


def numpy_rows(expected: bytes, actual: bytes) -> bool:
    """PRIME's steps, with numpy as there."""
    wanted, given = (text.decode("utf-8", "surrogateescape") for text in (expected, actual))
    rows = given.splitlines()
    if wanted.strip() == "\n".join(rows).strip():
        return True
    if wanted.strip() == "\n".join(row.strip() for row in rows).strip():
        return True
    want = [x.strip() for x in filter(len, wanted.split("\n"))]
    if want in (rows, kept := list(filter(len, rows))):
        return True
    try:
        if all(a.isdigit() and b.isdigit() for a, b in zip(kept, want, strict=True)):
            return False
        floats = [float(x) for x in kept], [float(x) for x in want]
        return len(floats[0]) == len(floats[1]) and bool(np.allclose(*floats))
    except ValueError:
        return False


MODE_PIECES = [" ", "\n", "\r\n", "\f", "\x85", "\u2028", "1", "0", ".", "-", "+", "e", "00001"]
MODE_PIECES += ["nan", "inf", "E9", "e999", "_", "A", "a", "\uff11", "\udcff", "²"]
MODE_TEXTS = st.lists(st.sampled_from(MODE_PIECES), max_size=8).map(
    lambda pieces: "".join(pieces).encode("utf-8", "surrogateescape")
)


@pytest.mark.parametrize(
    ("mode", "accepts"),
    [("lcb", decimal_lines), ("code_contests", lower_doubles), ("apps", numpy_rows)],
)
@given(MODE_TEXTS, MODE_TEXTS)
@example(b"1.0\n \n2", b"1\n2")
@example(b"inf\n2.0", b"1e999\n2")
def test_modes_agree_with_references(
    mode: str, accepts: Callable[[bytes, bytes], bool], expected: bytes, actual: bytes
) -> None:
    check = make_checker(f"compat:{mode}")
    for got in (actual, expected, expected.replace(b"0", b"0.0"), expected.replace(b" ", b"\n")):
        assert (check(expected, got) is None) == accepts(expected, got)


MANY = 10**6


@pytest.mark.parametrize("spec", TEXT_CHECKERS)
@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (b"1" * MANY + b"2", b"1" * MANY + b"3"),
        (b"1" * MANY, b"+" + b"1" * MANY),
        (b"1." + b"1" * MANY, b"1." + b"1" * MANY + b"1"),
        (b"1e" + b"9" * MANY, b"2e" + b"9" * MANY),
        (b"0.5 1e-" + b"9" * MANY, b"0.5 2e-" + b"9" * MANY),
        (b"x" + b" " * MANY + b"y", b"x" + b" " * MANY + b"z"),
        (b"a\n" * (MANY // 2), b"a \n" * (MANY // 2)),
        (b"0.5 " * (MANY // 8), b"0.500001 " * (MANY // 8)),
        (b"9" * 299 + b" " + b"1e5 " * (MANY // 8), b"9" * 299 + b" " + b"1e5 " * (MANY // 8)),
    ],
    ids=range(9),
)
def test_time_is_linear(spec: str, expected: bytes, actual: bytes) -> None:
    start = time.process_time()
    make_checker(spec)(expected, actual)
    assert time.process_time() - start < 3


def test_time_of_json_is_linear() -> None:
    deep = b"[[1],[" * 200 + b"0" + b"]]" * 200
    start = time.process_time()
    for text in (
        b"9" * (MANY // 10),
        b"[" + b"1," * (MANY // 10) + b"1]",
        b"[" + b"[]," * (MANY // 10) + b"1]",
        deep,
    ):
        for spec in ("tokens", "float", "unordered-lines"):
            make_json_checker(spec)(text, text.replace(b"1]", b"2 ]"))
    assert time.process_time() - start < 10


def test_tolerance_between_numbers_of_literals() -> None:
    tolerance = function_rules("float").tolerance
    inf, nan = math.inf, math.nan
    for want, got, same in (
        (2, 2.0000001, True),
        ((1.0, {2: 3}), (1, {2: 3.0000001}), True),
        (2, 3, False),
        (0.3, nan, False),
        (nan, 1, False),
        (nan, nan, False),
        (inf, inf, True),
        (inf, 10**400, False),
        (10**400, 1.0, False),
    ):
        assert (compare_values(want, got, tolerance) is None) == same, (want, got)
