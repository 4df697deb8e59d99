"""Files, folders and the Hub: where rows come from, and what is said when they do not."""

import gzip
import json
from pathlib import Path

import pytest
import rows
from rows import jsonl, parquet

from rlef.problems import ProblemError, hub, load_problems
from rlef.problems.files import splits_of


def own(name: str, text: str = "x") -> dict[str, object]:
    tests = [{"input": "1", "output": "2"}]
    return {"name": name, "statement": text, "public_tests": tests, "private_tests": []}


def names(spec: str) -> list[str]:
    return [problem.name for problem in load_problems(spec)]


def message(spec: str) -> str:
    with pytest.raises(ProblemError) as caught:
        load_problems(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_each_form_holds_the_same(tmp_path: Path) -> None:
    both = (own("a"), own("b"))
    (tmp_path / "a.json").write_text(json.dumps(both))
    (tmp_path / "lines.json").write_text("".join(json.dumps(row) + "\n" for row in both))
    jsonl(tmp_path / "a.jsonl", *both)
    jsonl(tmp_path / "a.jsonl.gz", *both)
    parquet(tmp_path / "a.parquet", *both)
    for name in ("a.json", "lines.json", "a.jsonl", "a.jsonl.gz", "a.parquet"):
        assert names(f"jsonl:{tmp_path / name}") == ["a", "b"], name


def test_files_of_a_split_are_read_in_order(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        parquet(tmp_path / "data" / f"test-{number}-of-11-0a1b.parquet", own(f"t{number}"))
    jsonl(tmp_path / "data" / "validation.jsonl", own("v"))
    jsonl(tmp_path / ".cache" / "train.jsonl", own("hidden"))
    (tmp_path / "README.md").write_text("x")
    assert names(f"jsonl:{tmp_path}:test") == ["t0", "t2", "t10"]
    assert names(f"jsonl:{tmp_path}:valid") == names(f"jsonl:{tmp_path}:validation") == ["v"]
    assert "several splits; add one of :test, :valid" in message(f"jsonl:{tmp_path}")
    assert "has no split 'train'; there is :test, :valid" in message(f"jsonl:{tmp_path}:train")
    assert names(f"jsonl:{tmp_path / 'data' / 'validation.jsonl'}") == ["v"]
    assert "leave out :test" in message(f"jsonl:{tmp_path / 'data' / 'validation.jsonl'}:test")


def test_numbers_behind_dots_count_and_odd_digits_do_not(tmp_path: Path) -> None:
    for number in (10, 2, 0, 7):
        jsonl(tmp_path / f"shard.{number}.jsonl.gz", own(f"n{number}"))
    jsonl(tmp_path / "x1\u00b2.jsonl", own("x"))
    assert names(f"jsonl:{tmp_path}") == ["n0", "n2", "n7", "n10", "x"]


def test_one_split_needs_no_name(tmp_path: Path) -> None:
    jsonl(tmp_path / "part-00000-of-00002.jsonl", own("a"))
    jsonl(tmp_path / "part-00001-of-00002.jsonl", own("b"))
    assert list(splits_of(tmp_path)) == ["train"]
    assert names(f"jsonl:{tmp_path}") == ["a", "b"]


def test_long_lines(tmp_path: Path) -> None:
    long = "x" * 10_000_000
    path = jsonl(tmp_path / "a.jsonl", own("a", long), own("b"))
    assert [len(p.statement) for p in load_problems(f"jsonl:{path}")] == [10_000_000, 1]
    path = parquet(tmp_path / "a.parquet", own("a", long))
    assert len(load_problems(f"jsonl:{path}")[0].statement) == 10_000_000


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(own("a", "\u2028\x85"), ensure_ascii=False) + "\r\n")
    assert load_problems(f"jsonl:{path}")[0].statement == "\u2028\x85"


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps(own("a")).encode() * 50)
    for name, content, words in (
        ("a.jsonl.gz", b"no gzip", "cannot be read"),
        ("b.jsonl.gz", whole[:-20], "cannot be read"),
        ("a.parquet", b"PAR1 no parquet", "cannot be read"),
        ("a.json", b"[1]", "row 1: is an integer; allowed: a JSON object"),
        ("b.json", b'{"name": ', "line 1: broken JSON"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        text = message(f"jsonl:{path}")
        assert text.startswith(str(path)) and words in text
    (tmp_path / "empty").mkdir()
    assert "holds no data; allowed: .jsonl" in message(f"jsonl:{tmp_path / 'empty'}")


def test_texts_of_parquet_that_are_no_text(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"name": pyarrow.array([b"a", b"\xff"]).view(pyarrow.utf8())})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    text = message(f"jsonl:{tmp_path / 'a.parquet'}")
    assert text.startswith(f"{tmp_path / 'a.parquet'}, row 1 or later: cannot be read ('utf-8'")


def test_rows_of_parquet_are_named(tmp_path: Path) -> None:
    wrong = {**rows.CONTEST, "name": "b", "public_tests": {"input": ["1"], "output": []}}
    path = parquet(tmp_path / "test.parquet", rows.CONTEST, wrong)
    text = message(f"codecontests:{path}")
    what = "has 1 inputs but 0 outputs; broken=skip leaves such rows out"
    assert text == f"{path}, row 2, field 'public_tests': {what}"


def test_filters(tmp_path: Path) -> None:
    dated = [{**own(f"p{day}"), "date": f"2024-01-0{day}", "tags": ["Graphs"]} for day in (1, 2, 3)]
    path = jsonl(tmp_path / "a?b.jsonl", *dated, own("undated"))
    spec = f"jsonl:{path}"
    assert names(spec) == ["p1", "p2", "p3", "undated"]
    assert names(f"{spec}?start_date=2024-01-02") == ["p2", "p3"]
    assert names(f"{spec}?start_date=2024-01-01&end_date=2024-01-02&first=1") == ["p1"]
    assert names(f"{spec}?tag=graphs") == ["p1", "p2", "p3"]
    assert load_problems(f"{spec}?checker=lines")[0].checker == "lines"


@pytest.mark.parametrize("date", ["8/31/2023", "2024/08/31", "2024-13-01", "20240831"])
def test_days_of_other_forms_are_refused(tmp_path: Path, date: str) -> None:
    path = jsonl(tmp_path / "a.jsonl", {**own("a"), "date": date})
    assert f"line 1, field 'date': is '{date}'; allowed: such as 2024-" in message(f"jsonl:{path}")


def test_problems_in_another_language(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine = {**own("a"), "prelude": "import os", "solutions": ["1"], "cpp_solutions": ["2"]}
    calls = {"mode": "function", "entry_point": "f"}
    tests = {"public_tests": [{"input": "[1]", "output": "1"}]}
    path = jsonl(tmp_path / "a.jsonl", {**own("f"), **calls, **tests}, mine, own("b"))
    spec = f"jsonl:{path}"
    problems = load_problems(f"{spec}?language=rust&first=2")
    assert [(p.name, p.language, p.prelude) for p in problems] == [
        ("a", "rust", ""),
        ("b", "rust", ""),
    ]
    assert (problems[0].solutions, problems[0].cpp_solutions) == ((), ("2",))
    assert f"{spec}?language=rust&first=2: left out 1 problems that call functions" in caplog.text
    problems = load_problems(f"{spec}?language=cpp")
    assert (problems[0].solutions, problems[0].cpp_solutions) == (("2",), ())
    assert load_problems(f"{spec}?language=python")[1].prelude == "import os"
    only = jsonl(tmp_path / "b.jsonl", {**own("f"), **calls, **tests})
    assert message(f"jsonl:{only}?language=cpp") == (
        f"jsonl:{only}?language=cpp: language=cpp: all its problems call functions, not C++"
    )
    assert message(f"{spec}?language=ada") == (
        f"{spec}?language=ada: language is 'ada'; allowed: python, cpp, rust, javascript"
    )
    assert {p.language for p in load_problems("mini:valid?language=rust&first=3")} == {"rust"}
    rust = jsonl(tmp_path / "c.jsonl", {**own("a"), "language": "rust"})
    assert load_problems(f"jsonl:{rust}")[0].language == "rust"
    wrong = {**own("a"), "language": "rust", "prelude": "x"}
    assert "allowed with language python only" in message(f"jsonl:{jsonl(rust, wrong)}")
    wrong = {**own("f"), "language": "rust", **calls, **tests}
    assert "is 'rust'; allowed with mode function: python" in message(f"jsonl:{jsonl(rust, wrong)}")
    assert "unknown option 'frist'; allowed: difficulty" in message(f"{spec}?frist=3")
    assert "option 'first' stands twice" in message(f"{spec}?first=3&tag=a&first=2")
    assert "first is '0'; allowed: a whole number above 0" in message(f"{spec}?first=0")
    assert "start_date is 'May'; allowed: such as 2024" in message(f"{spec}?start_date=May")
    assert "untested is 'no'; allowed: error, skip" in message(f"{spec}?untested=no")


def test_own_options_are_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "mbpp.jsonl", rows.MBPP)
    assert "no split 'dev'; allowed: prompt, test, valid, train" in message(f"mbpp:{path}:dev")
    assert "unknown option 'release'" in message(f"mbpp:{path}?release=v1")
    path = jsonl(tmp_path / "test.jsonl", rows.LIVE)
    assert "release is 'v9'; allowed: v1, v2" in message(f"livecodebench:{path}?release=v9")


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the Hub; ``datasets`` reads it as it reads that."""
    monkeypatch.setattr(hub, "ROOT", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.filterwarnings("ignore")
def test_the_hub_gives_the_same_problems(tmp_path: Path, local_hub: Path) -> None:
    contests = local_hub / "deepmind" / "code_contests" / "data"
    file = parquet(contests / "valid-00000-of-00001-5e672c5751f060d3.parquet", rows.CONTEST)
    from_file = load_problems(f"codecontests:{file}")
    assert load_problems("codecontests:hub:validation") == from_file
    assert load_problems("codecontests:deepmind/code_contests:valid") == from_file
    assert "has several splits; add one of :train, :valid, :test" in message("codecontests:hub")
    assert "has no split 'dev'; there is :train" in message("codecontests:hub:dev")
    lite = local_hub / "livecodebench" / "code_generation_lite"
    jsonl(lite / "test.jsonl", rows.LIVE)
    file = jsonl(lite / "test2.jsonl", rows.LIVE_CALL)
    assert names("livecodebench:hub?release=v1") == ["abc301_a"]
    both = load_problems("livecodebench:hub?release=v2")
    assert both[1:] == load_problems(f"livecodebench:{file}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spec", ["mbpp:hub:test", "jsonl:somebody/problems", "apps:a/b:train"])
def test_without_the_hub_one_line_says_so(spec: str) -> None:
    text = message(spec)
    assert "no such file or folder, and cannot be read from the Hugging Face hub (" in text


def test_not_everything_is_on_the_hub() -> None:
    assert "is not on the Hub; name a file or folder" in message("jsonl:hub")
    assert message("jsonl:data/mine.jsonl") == "data/mine.jsonl: no such file"
