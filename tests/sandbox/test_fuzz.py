"""Whatever bytes a child can write, and whatever a jail says: never a crash, never accepted."""

import contextlib
import json
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rlef.problems import Test
from rlef.sandbox import JudgeJob, JudgeReport, Limits, TestReport, Verdict, wire
from rlef.sandbox.checker_values import (
    NotJsonError,
    compare_loosely,
    compare_values,
    make_value_checker,
)
from rlef.sandbox.isolation import choose_isolation
from rlef.sandbox.jail import Jail, JailError, Run
from rlef.sandbox.values import read_result
from rlef.sandbox.worker import Worker

LIMITS = Limits(cpu_s=2.0, memory_mb=128, output_kb=4)
SECRET = "a value that nobody can guess"
WRITER = """
import json, os, sys
def cookie():
    g = sys._getframe()
    while g:
        if type(g.f_locals.get('cookie')) is str: return g.f_locals['cookie'].encode()
        g = g.f_back
def f(fd, at, text, known, ending):
    data = bytes.fromhex(text)
    if known: data = cookie() + data
    if at < 0: os.ftruncate(fd, -at - 1)
    os.pwrite(fd, data, abs(at))
    if ending >= 0: os._exit(ending)
    if ending == -2: raise SystemExit(0)
    if ending == -3: os.abort()
"""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    own = Worker(choose_isolation()[0])
    yield own
    own.close()


PIECES = st.sampled_from(
    (
        *(b"r", b"M", b"[", b"]", b"{", b"}", b'"', b",", b":", b"1", b"NaN", b"\0", b"\xff"),
        *(b'{"__python__": "', b'{"__check__": "True"}', b"null", b"1e999", b"\\ud800", b"'"),
        *(b"[" * 999, b"9" * 700, b"[" * 150 + b"]" * 150, b"\n"),
    )
)
TEXTS = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=8).map(b"".join))
FORMS = st.sampled_from(
    [json.dumps(SECRET), json.dumps([SECRET, 1.5]), json.dumps({"__python__": repr((SECRET,))})]
)


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    fd=st.integers(0, 4),
    at=st.integers(-3, 20),
    text=TEXTS,
    known=st.booleans(),
    ending=st.sampled_from([-1, -1, -2, -3, 0, 0, 0, 1, 126]),
    wanted=FORMS,
    checker=st.sampled_from(["tokens", "float", "unordered-lines", "compat:lcb-call"]),
)
@example(3, 1, b'["__python__",' + b"[" * 600 + b"]" * 601, True, 0, '"x"', "tokens")
@example(3, 1, b"[" * 990 + b"]" * 990, True, 0, '"x"', "compat:lcb-call")
def test_a_program_that_writes_any_message_is_never_accepted(
    worker: Worker,
    fd: int,
    at: int,
    text: bytes,
    known: bool,
    ending: int,
    wanted: str,
    checker: str,
) -> None:
    given_ = json.dumps([fd, at, text.hex(), known, ending])
    job = JudgeJob(
        source=WRITER,
        tests=(Test(given_, wanted),),
        mode="function",
        entry_point="f",
        limits=LIMITS,
        checker=checker,
    )
    report = worker.judge(job)
    assert report.verdict in ("WA", "RE", "CE", "MLE", "OLE"), report
    assert "the judge failed" not in report.tests[0].message
    assert SECRET not in report.tests[0].stdout + report.tests[0].stderr


@given(st.one_of(st.binary(max_size=90), st.binary(min_size=64, max_size=64)))
@example(struct.pack("=iiddQ3Q16s", 0, 9, 0.0, 0.0, 0, 0, 0, 0, b""))
@example(struct.pack("=iiddQ3Q16s", 0, -1, float("nan"), 0.0, 2**64 - 1, 2**64 - 1, 0, 0, b"r"))
def test_whatever_a_jail_says_is_a_run_or_a_jail_error(message: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    jail = Jail.__new__(Jail)
    jail._socket, jail._limits, jail._slots, jail._started = ours, LIMITS, [_Files()], 0  # type: ignore[list-item]
    with ours, theirs:
        theirs.send(message)
        theirs.close()
        with contextlib.suppress(JailError):
            assert isinstance(jail.finish(0), Run)


class _Files:
    """Files that cannot be read."""

    written = (-1, -1, -1)


@given(TEXTS, FORMS, st.sampled_from(["tokens", "float", "unordered-lines", "compat:apps-call"]))
@example(b'["__python__",' + b"[" * 900 + b"]" * 901, '"x"', "tokens")
def test_no_result_breaks_a_value_checker(text: bytes, wanted: str, checker: str) -> None:
    def no_jail() -> Jail:
        raise AssertionError("nothing is to be run")

    check = make_value_checker(checker, no_jail).check
    try:
        assert check(Test("[]", wanted), wanted.encode(), text) is not None
    except NotJsonError as error:
        assert "\n" not in str(error)


PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=3),
        st.binary(max_size=3),
        st.complex_numbers(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        st.dictionaries(st.tuples(st.integers(0, 3)), inner, max_size=3),
        st.frozensets(st.integers(0, 3)).map(set),
    ),
    max_leaves=8,
)


@given(PLAIN, PLAIN)
def test_values_are_compared_as_python_does(want: object, got: object) -> None:
    assert (compare_values(want, got, None) is None) == (want == got)
    assert (compare_values(got, want, None) is None) == (want == got)
    for words in (compare_values(want, got, None), compare_loosely(want, got, unwrap=True)):
        assert words is None or (words.isprintable() and len(words) < 400)


@given(PLAIN)
def test_results_are_read_as_they_were_written(value: object) -> None:
    text = json.dumps({"__python__": repr(value)}).encode()
    assert repr(read_result(text)) == repr(value)


@given(st.integers(0, 400))
def test_nesting_has_one_limit(depth: int) -> None:
    text = b"[" * depth + b"1" + b"]" * depth
    try:
        read_result(text)
    except ValueError as error:
        assert depth > 150 and "deep" in str(error)
    else:
        assert depth <= 151


@given(
    st.lists(st.tuples(st.text(max_size=3), st.integers(0, 300), st.booleans()), max_size=6),
    st.integers(0, 6),
)
def test_reports_come_back_as_they_were(pieces: list[tuple[str, int, bool]], ended: int) -> None:
    tests = [Test("", text + "y" * length) for text, length, _ in pieces]
    reports = tuple(
        TestReport(verdict=Verdict.AC, stdout=test.output if same else test.output + "!")
        for test, (_, _, same) in zip(tests, pieces, strict=True)
    )[:ended]
    whole = JudgeReport(verdict=Verdict.AC, tests=reports)
    assert wire.unpack_report(wire.pack_report(whole, tests), tests) == whole
