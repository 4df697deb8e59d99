"""``rlef eval --samples-file``: programs that other tools sampled."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rlef.run import RunFolder

ADD = "def add(a, b):\n    return a + b"
RIGHT, WRONG = "print(2 * int(input()))", "print(0)"


def lines(*entries: object) -> str:
    return "".join(f"{json.dumps(entry)}\n" for entry in entries)


def test_samples_are_judged_once(rlef: Any, problems: str, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(
        lines(
            {"task_id": "double", "solution": RIGHT},
            {"task_id": "double", "completion": WRONG},
            {"task_id": "double", "solution": "print(4)"},
        )
    )
    words = ["eval", "--samples-file", file, "--data", problems, "--metrics", "pass@1,1@1"]
    code, out, _ = rlef(*words, "--out", tmp_path / "e", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["metrics"]["pass@1"]["estimate"] == pytest.approx(1 / 3)
    run = RunFolder.open(tmp_path / "e")
    before = run.rollout_path("eval").read_bytes()
    entries = sorted(run.read_rollouts("eval"), key=lambda entry: entry["place"])
    assert [entry["solved"] for entry in entries] == [True, False, False]
    assert (run.path / "summary.md").read_text().startswith("| metric |")
    again = rlef(*words, "--out", tmp_path / "e")
    assert "3 of 3 episodes are there already" in again.err
    assert run.rollout_path("eval").read_bytes() == before


def test_samples_may_be_compressed(rlef: Any, problems: str, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl.gz"
    file.write_bytes(gzip.compress(lines({"task_id": "double", "solution": RIGHT}).encode()))
    code, out, _ = rlef("eval", "--samples-file", file, "--data", problems, "--out", tmp_path / "e")
    assert code == 0
    assert out.splitlines()[2].split()[:2] == ["pass@1", "100.0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.jsonl holds no samples; allowed: one JSON object a line"),
        ('{"task_id"', "s.jsonl:1 is no JSON"),
        ("3\n", "s.jsonl:1 is no JSON object"),
        (lines({"solution": "x"}), "s.jsonl:1: task_id is None; allowed: the name of one of the"),
        (lines({"task_id": "no", "solution": "x"}), "s.jsonl:1: task_id is 'no'; allowed"),
        (lines({"task_id": "double"}), "s.jsonl:1: solution or completion is missing"),
        (lines({"task_id": "double", "solution": 3}), "s.jsonl:1: solution or completion is"),
    ],
)
def test_damaged_samples_are_named(
    rlef: Any, problems: str, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(text)
    code, _, err = rlef("eval", "--samples-file", file, "--data", problems, "--out", tmp_path / "e")
    assert code == 2
    assert err.startswith("rlef: ") and message in err
    assert not (tmp_path / "e").exists()


def test_other_samples_in_a_begun_folder_are_refused(
    rlef: Any, problems: str, tmp_path: Path
) -> None:
    file = tmp_path / "s.jsonl"
    words = ["eval", "--samples-file", file, "--data", problems, "--out", tmp_path / "e"]
    file.write_text(lines({"task_id": "double", "solution": RIGHT}))
    assert rlef(*words).code == 0
    file.write_text(lines({"task_id": "double", "solution": WRONG}))
    code, _, err = rlef(*words)
    assert code == 1
    assert "eval.jsonl:1 is of another sample than these; allowed: the same files again" in err


def test_what_samples_miss_is_said_and_counted(rlef: Any, problems: str, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    of_double = {"task_id": "double", "solution": RIGHT}
    file.write_text(lines(of_double, of_double))
    words = ["eval", "--samples-file", file, "--data", problems, "--json"]
    code, out, err = rlef(*words, "--out", tmp_path / "e")
    told = "1 of 2 problems have no sample and are left out of all numbers: add"
    assert code == 0 and told in err
    assert "1 of 2 samples repeat another one of their problem" in err
    result = json.loads(out)
    assert result["metrics"]["pass@1"]["estimate"] == 1.0
    assert result["samples"]["without_sample"] == ["add"] and result["samples"]["repeated"] == 1
    assert f"\n{told}.\n" in (tmp_path / "e" / "summary.md").read_text()

    file.write_text(lines(of_double, {"task_id": "add", "solution": ADD}, of_double))
    code, out, err = rlef(*words, "--out", tmp_path / "f", "--limit", 1)
    assert code == 0 and "1 of 3 samples are of other problems than these 1" in err
    assert json.loads(out)["samples"]["of_others"] == 1
    code, out, err = rlef(*words, "--out", tmp_path / "g")
    assert code == 0 and "problems have from 1 to 2 samples" in err


def rates(rlef: Any, folder: Path, run: str) -> set[float]:
    """The solve rate of an evaluation, by each command that says it."""
    (listed,) = json.loads(rlef("runs", folder / run, "--json").out)["runs"]
    shown = rlef("show", folder / run).out.splitlines()[-1].split()
    words = ["compare", folder / run, folder / "whole", "--metrics", "pass@1", "--json"]
    (compared,) = json.loads(rlef(*words).out)["comparisons"][0]["metrics"]
    return {listed["solve_rate"], float(shown[2]) / 100, compared["a"]}


def test_problems_without_a_sample_fail_for_every_reader(
    rlef: Any, problems: str, tmp_path: Path
) -> None:
    file, right = tmp_path / "s.jsonl", {"task_id": "double", "solution": RIGHT}
    words = ["eval", "--samples-file", file, "--data", problems, "--json"]
    of_add = {"task_id": "add", "solution": ADD}
    file.write_text(lines(right, right, of_add))
    assert rlef(*words, "--out", tmp_path / "whole").code == 0
    file.write_text(lines(right, right))
    failed = [*words, "--out", tmp_path / "failed", "--missing-failed"]
    code, out, err = rlef(*failed)
    assert code == 0 and "1 of 2 problems have no sample and count as failed: add" in err
    result = json.loads(out)
    assert result["metrics"]["pass@1"]["estimate"] == 0.5 and result["samples"]["samples"] == 2
    assert rates(rlef, tmp_path, "failed") == {0.5}
    run = RunFolder.open(tmp_path / "failed")
    assert [entry["problem"] for entry in run.read_rollouts("eval")] == ["double"] * 2 + ["add"] * 2
    exported = (run.path / "samples.jsonl").read_text().splitlines()
    assert [json.loads(line)["task_id"] for line in exported] == ["double"] * 2
    assert rlef("rollouts", run.path, tmp_path / "r.jsonl", "--as", "rollouts").code == 0
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 2

    before = run.rollout_path("eval").read_bytes()
    code, again, err = rlef(*failed)
    assert code == 0 and json.loads(again) == result and "2 of 2 episodes are there" in err
    assert run.rollout_path("eval").read_bytes() == before
    assert rlef(*words, "--out", tmp_path / "left-out").code == 0
    for out_folder, more in (("failed", []), ("left-out", ["--missing-failed"])):
        code, _, err = rlef(*words, "--out", tmp_path / out_folder, *more)
        assert code == 2 and "was begun with other values of missing_failed; allowed" in err
    compared = rlef("compare", run.path, tmp_path / "left-out", "--json").out
    assert json.loads(compared)["settings"] == {"missing_failed": [True, False]}

    file.write_text(lines(right, right, of_add))  # it had not come to its end
    assert json.loads(rlef(*failed).out)["metrics"]["pass@1"]["estimate"] == 1.0
    assert rates(rlef, tmp_path, "failed") == {1.0}
    assert len(run.read_rollouts("eval")) == 3


@pytest.mark.parametrize("more", [[], ["--missing-failed"]])
def test_a_folder_that_does_not_say_how_missing_samples_count_goes_on(
    rlef: Any, problems: str, tmp_path: Path, more: list[str]
) -> None:
    file, out = tmp_path / "s.jsonl", tmp_path / "e"
    file.write_text(lines({"task_id": "double", "solution": RIGHT}))
    words = ["eval", "--samples-file", file, "--data", problems, "--out", out]
    assert rlef(*words, "--json").code == 0
    run = RunFolder.open(out)
    run.write_config(run.read_config().replace("missing_failed: false\n", ""))
    assert "missing_failed" not in run.read_config()
    assert rlef(*words, *more).code == 0  # and says it from now on
    assert f"missing_failed: {str(bool(more)).lower()}\n" in run.read_config()
    (listed,) = json.loads(rlef("runs", out, "--json").out)["runs"]
    assert listed["solve_rate"] == (0.5 if more else 1.0)
    assert len(run.read_rollouts("eval")) == (2 if more else 1)


def test_samples_are_gone_on_with_from_any_folder(
    rlef: Any, problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.jsonl").write_text(lines({"task_id": "double", "solution": RIGHT}))
    (tmp_path / "deep").mkdir()
    for folder, up in ((tmp_path, ""), (tmp_path / "deep", "../")):
        monkeypatch.chdir(folder)
        words = ["--samples-file", f"{up}s.jsonl", "--data", f"jsonl:{up}problems.jsonl"]
        code, out, _ = rlef("eval", *words, "--out", f"{up}e", "--json")
        assert code == 0 and json.loads(out)["data"] == f"jsonl:{up}problems.jsonl"
    config = (tmp_path / "e" / "config.yaml").read_text()
    assert f"samples_file: {tmp_path}/s.jsonl\ndata: {problems}\n" in config


def test_samples_in_markdown_and_with_special_tokens(
    rlef: Any, problems: str, tmp_path: Path
) -> None:
    file = tmp_path / "s.jsonl"
    solutions = [
        f"```python\n{RIGHT}\n```",
        f"Here it is:\n```python\n{RIGHT}\n```\nIt prints\n```\n4\n```",
        f"```python\n{RIGHT}\n",
        f"import sys\n{RIGHT}\n```\nThis reads n.",
        f"{RIGHT}<|im_end|>",
        f"{RIGHT}\n</s></s>",
        f"{RIGHT}\n<|eot_id|>\n<|start_header_id|>user<|end_header_id|>\nThanks",
        f"{RIGHT}\n<\uff5cend▁of▁sentence\uff5c>",
        f"```python\n{RIGHT}\n```<|endoftext|>",
        f"s = '</s>'  # <|im_end|>\n{RIGHT}",
        f"s = '''\n```\n</s>\n'''\n{RIGHT}",
    ]
    file.write_text(lines(*({"task_id": "double", "solution": text} for text in solutions)))
    words = ["--data", problems, "--out", tmp_path / "e", "--json"]
    code, out, err = rlef("eval", "--samples-file", file, *words)
    assert code == 0
    assert json.loads(out)["metrics"]["pass@1"]["estimate"] == 1.0
    assert "5 of 11 samples are Markdown; judged is the program in it" in err
    assert "5 of 11 samples go on with a special token such as <|im_end|>; they were cut" in err
    entries = RunFolder.open(tmp_path / "e").read_rollouts("eval")
    texts = {entry["place"]: entry["turns"][0]["response"] for entry in entries}
    assert [texts[i] for i in range(11)] == solutions


def test_too_few_samples_are_refused_before_any_is_judged(
    rlef: Any, problems: str, tmp_path: Path
) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(lines({"task_id": "double", "solution": RIGHT}))
    words = ["eval", "--samples-file", file, "--data", problems, "--out", tmp_path / "e"]
    for metric in ("pass@10", "10@100", "1@2"):
        code, _, err = rlef(*words, "--metrics", metric)
        assert code == 2 and "samples of each problem, but there are 1 of 'double'" in err
        assert err.count("\n") == 1 and not (tmp_path / "e").exists()
    assert rlef(*words).code == 0
    code, _, err = rlef(*words, "--metrics", "pass@2")
    assert code == 2 and "pass@2 needs 2 samples of each problem" in err


def test_files_of_windows_are_read(rlef: Any, problems: str, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    text = lines({"task_id": "double", "solution": RIGHT}, {"task_id": "double", "solution": ""})
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    words = ["--data", problems, "--out", tmp_path / "e", "--json"]
    code, out, _ = rlef("eval", "--samples-file", file, *words)
    assert code == 0
    assert json.loads(out)["metrics"]["pass@1"]["estimate"] == 0.5
