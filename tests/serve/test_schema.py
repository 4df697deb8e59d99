"""Jobs and reports as JSON and back; what is wrong with a request, in one line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import job

from rlef.problems import Test
from rlef.sandbox import JudgeJob, JudgeReport, Limits, TestReport, Verdict
from rlef.serve.answers import parse_json
from rlef.serve.errors import RefusedError
from rlef.serve.openapi import openapi
from rlef.serve.schema import (
    Job,
    JudgeRequest,
    from_json,
    json_bytes,
    judged,
    parsed,
    to_job,
    to_json,
)
from rlef.serve.settings import ServeSettings

SETTINGS = ServeSettings()
TEXT = st.text(st.characters(), max_size=20)  # halves of surrogate pairs too
JOBS = st.builds(
    JudgeJob,
    source=TEXT,
    tests=st.lists(st.builds(Test, TEXT, TEXT), min_size=1, max_size=3).map(tuple),
    prelude=TEXT,
    limits=st.builds(
        Limits,
        cpu_s=st.floats(0.001, 60),
        memory_mb=st.integers(1, 8192),
        idle_s=st.none() | st.floats(0.001, 60),
    ),
    checker=st.sampled_from(["tokens", "exact", "any", "float(abs=1e-3)"]),
    stop_at_first_failure=st.booleans(),
)
REPORTS = st.builds(
    JudgeReport,
    verdict=st.sampled_from(Verdict),
    tests=st.lists(
        st.builds(
            TestReport,
            verdict=st.sampled_from(Verdict),
            cpu_s=st.floats(0, 1e4),
            stdout=TEXT,
            message=TEXT,
            exit_status=st.none() | st.integers(0, 255),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
)


@given(JOBS)
def test_a_job_comes_back_as_it_was(one: JudgeJob) -> None:
    body = json_bytes(to_json(one, "key"))
    asked = parsed(Job, parse_json(body))
    assert asked.key == "key"
    assert to_job(asked, SETTINGS) == one


@given(REPORTS)
def test_a_report_comes_back_as_it_was(report: JudgeReport) -> None:
    if report.verdict is Verdict.IE and Verdict.IE not in [t.verdict for t in report.tests]:
        return
    value = json.loads(json_bytes(judged(report)))
    assert from_json(value["report"]) == report
    assert ("not_judged" in value) == (report.verdict is Verdict.IE)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"source": 3}, "field 'source' is 3: input should be a valid string"),
        ({"tests": []}, "field 'tests' is []: list should have at least 1 item"),
        ({"tests": [{"input": ""}]}, "field 'tests[0].output' is missing"),
        ({"colour": 1}, "field 'colour' is not known"),
        ({"limits": {"cpu_s": "1"}}, "field 'limits.cpu_s' is '1': input should be a valid"),
        ({"limits": {"cpu_s": 61}}, "field 'limits.cpu_s' is 61; allowed here: up to 60"),
        ({"limits": {"memory_mb": 9000}}, "field 'limits.memory_mb' is 9000; allowed here: up"),
        ({"limits": {"memory_mb": 10**400}}, "field 'limits.memory_mb' is more; allowed here: up"),
        (
            {str(i): i for i in range(200)},
            "the body is {'0': 0, '1': 1, '10': 10, '100': 100, ...}",
        ),
        ({"limits": {"wall_s": 1e5}}, "field 'limits.wall_s' is 100000; allowed here: up to 610"),
        ({"language": "go"}, "language 'go' cannot be judged; allowed: python"),
        ({"checker": "fuzzy"}, "unknown checker 'fuzzy'; allowed: tokens"),
        ({"mode": "function"}, "mode 'function' needs an entry_point"),
        ({"mode": "call"}, "field 'mode' is 'call': input should be 'stdin' or 'function'"),
        ({"deadline_s": 0}, "field 'deadline_s' is 0: input should be greater than 0"),
        ({"stop_at_first_failure": 1}, "field 'stop_at_first_failure' is 1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(RefusedError) as caught:
        to_job(parsed(JudgeRequest, job() | fields), SETTINGS)
    assert str(caught.value).startswith(line)
    assert caught.value.status == 422 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"{", "the body is not JSON: "),
        (b"", "the body is not JSON: "),
        (b"\xff", "the body is not UTF-8: "),
        (b"[" * 200_000, "the body is nested too deeply"),
        (b'{"a":NaN}', "the body is not JSON: NaN is no number of JSON"),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, line: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_json(body)
    assert str(caught.value).startswith(line) and caught.value.status == 400


def test_the_schema_names_only_what_is_there() -> None:
    text = json.dumps(openapi(ServeSettings(token="x")))
    schema = json.loads(text)
    names = schema["components"]["schemas"]
    refs = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert refs <= names.keys() and "JudgeRequest" in refs
    assert schema["security"] == [{"token": []}]
