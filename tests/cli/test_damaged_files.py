"""Damaged files of runs: one line with file, line and field, exit status 1."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlef.config import dump_config, load_config
from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.evaluation.results import write_results
from rlef.evaluation.specs import parse_metrics
from rlef.rollout.records import episode_to_json
from rlef.run import RunFolder, RunWriteError
from rlef.sandbox import Verdict
from rlef.train.recipe import TrainConfig

OPTIONS = "model: mini\ndata: mini:test\nturns: 2\nsamples: 1\n"
ESTIMATE = {"mean": 0.5, "low": 0.25, "high": 0.75}
STAGE = {"solve": ESTIMATE, "solve_rate_by_turn": [ESTIMATE], "repair_rate": ESTIMATE}
TRAINED: dict[str, Any] = {
    **{"recipe": "mini", "seed": 0, "updates": 2, "wall_s": 1.0, "parameters": 10},
    **{
        "temperature": 0.2,
        "top_p": 0.95,
        "turn_limit": 1,
        "test_problems": 4,
        "samples_per_problem": 1,
        "masked_infra": 0,
    },
    **{"before": STAGE, "after": STAGE, "gain": ESTIMATE},
}


def line(problem: str, place: int, solved: bool) -> dict[str, Any]:
    turn = TurnRecord(response="r\ud800", program="p", public_verdicts=(Verdict.WA,), feedback=None)
    record = EpisodeRecord(
        problem=problem,
        family=None,
        hidden_detail=None,
        turns=(turn,),
        stop=StopReason.TURN_LIMIT,
        solved=solved,
        final_verdict=Verdict.WA,
    )
    return {**episode_to_json(record), "place": place, "sample": 0, "wall_s": 0.5}


@pytest.fixture
def evaluation(tmp_path: Path) -> RunFolder:
    """A finished evaluation."""
    run = RunFolder.create(tmp_path / "eval", OPTIONS)
    lines = [line("a", 0, True), line("b", 1, False)]
    run.append_rollouts("eval", lines)
    from rlef.evaluation.episodes import read_episodes

    records = [record for record, _ in read_episodes(run, "eval")]
    specs = parse_metrics("1@1,1@2")
    write_results(run, records, specs, model="mini", data="d", turn_limit=2, wall_s=1.0)
    return run


@pytest.fixture
def training(tmp_path: Path) -> RunFolder:
    """A finished training."""
    config = dump_config(load_config(TrainConfig, "mini", ["updates=4"]))
    run = RunFolder.create(tmp_path / "run", config)
    for update in (2, 4):
        run.append_metrics({"update": update, "kl": None, "solve_rate": 0.5})
    run.append_rollouts("eval-after", [line("a", 0, True)])
    run.write_summary(TRAINED)
    return run


def fails(rlef: Any, *words: object) -> str:
    code, out, err = rlef(*words)
    assert (code, out) == (1, ""), err
    assert err.startswith("rlef: ") and err.count("\n") == 1
    for name in (
        "KeyError",
        "AttributeError",
        "ParserError",
        "Validation",
        "Traceback",
        "NoneType",
    ):
        assert name not in err
    return str(err.removeprefix("rlef: ").rstrip())


Damage = Callable[[Path], object]


def with_line(path: Path, number: int, text: bytes) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[number - 1] = text
    path.write_bytes(b"\n".join(lines))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"", "config.yaml is damaged: empty"),
        (b"\x00\xff\xfe\x93", "config.yaml is damaged: no text in UTF-8, or not YAML"),
        (b"turns: 2\ndata: [x\n", "config.yaml:3 is damaged: not YAML, expected"),
        (b"- turns\n", "config.yaml is damaged: no mapping of keys to values"),
        (
            b"turns: two\ndata: d\n",
            'config.yaml is damaged: turns must be a valid integer, not "two"',
        ),
        (b"turns: 2\n", "config.yaml is damaged: data is missing"),
        (
            b"turns: 0\ndata: d\n",
            "config.yaml is damaged: turns must be greater than or equal to 1",
        ),
        (b"caf\xe9: 1\nturns: 2\n", "config.yaml is damaged: no text in UTF-8"),
    ],
)
def test_configs_of_evaluations(
    rlef: Any, evaluation: RunFolder, problems: str, config: bytes, message: str
) -> None:
    evaluation.config_path.write_bytes(config)
    wanted = str(evaluation.config_path.with_name(message))
    for words in (
        ["report", evaluation.path],
        ["eval", "--compare", evaluation.path, evaluation.path],
        ["eval", "mini", "--data", problems, "--out", evaluation.path],
        ["train", evaluation.path],
    ):
        assert fails(rlef, *words).startswith(wanted), words


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("solved", "yes", 'solved must be a valid boolean, not "yes"'),
        ("solved", ..., "solved is missing"),
        ("turns", 3, "turns must be a valid list, not 3"),
        ("turns", [{}], "turns.0.response is missing"),
        ("stop", "bored", "stop must be 'public_passed', 'turn_limit', 'context_limit' or"),
        ("final_verdict", "ZZ", "final_verdict must be "),
        ("problem", None, "problem must be an instance of str, not null"),
        ("wall_s", "x", "wall_s must be a number"),
        ("place", "x", "place or sample is no number"),
    ],
)
def test_episodes(rlef: Any, evaluation: RunFolder, key: str, value: object, message: str) -> None:
    path = evaluation.rollout_path("eval")
    entry = evaluation.read_rollouts("eval")[0]
    if value is ...:
        del entry[key]
    else:
        entry[key] = value
    with_line(path, 1, json.dumps(entry).encode())
    if key == "place":
        resumed = ["eval", "mini", "--data", "mini:test", "--turns", "2", "--out", evaluation.path]
        evaluation.write_config(OPTIONS)
        code, _, err = rlef(*resumed)
        assert code in (1, 2) and "Error" not in err
        return
    compared = fails(rlef, "eval", "--compare", evaluation.path, evaluation.path)
    assert compared.startswith(f"{path}:1 is damaged: {message}")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"problem": "\xe9"}', b"[" * 100_000]
)
def test_lines_cut_in_the_middle(rlef: Any, evaluation: RunFolder, text: bytes) -> None:
    path = evaluation.rollout_path("eval")
    with_line(path, 1, text)
    assert fails(rlef, "eval", "--compare", evaluation.path, evaluation.path).startswith(
        f"{path}:1 is damaged: "
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ...}, "metrics is missing"),
        ({"solve": 3}, "solve must be a valid dictionary"),
        ({"solve_rate_by_turn": [{}]}, "solve_rate_by_turn.0.mean is missing"),
        ({"turn_limit": "2"}, 'turn_limit must be a valid integer, not "2"'),
        ({"metrics": {"1@1": {"estimate": "x"}}}, "metrics.1@1.estimate must be a valid number"),
    ],
)
def test_summaries_of_evaluations(
    rlef: Any, evaluation: RunFolder, change: dict[str, Any], message: str
) -> None:
    damage(evaluation, change)
    assert fails(rlef, "report", evaluation.path).startswith(
        f"{evaluation.summary_path} is damaged: {message}"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": ...}, "parameters is missing"),
        ({"recipe": ...}, "recipe is missing"),
        ({"wall_s": "long"}, "wall_s must be a valid number"),
        ({"after": {"solve": ESTIMATE}}, "after.solve_rate_by_turn is missing"),
        ({"before": None}, "before must be "),
        ({"timing_s": {"update": "x"}}, "timing_s.update must be a valid number"),
        ({"gain": [1, 2]}, "gain must be "),
    ],
)
def test_summaries_of_trainings(
    rlef: Any, training: RunFolder, change: dict[str, Any], message: str
) -> None:
    damage(training, change)
    for command in ("report", "train"):
        assert fails(rlef, command, training.path).startswith(
            f"{training.summary_path} is damaged: {message}"
        )


def damage(run: RunFolder, change: dict[str, Any]) -> None:
    summary = {**(run.read_summary() or {}), **change}
    run.write_summary({key: value for key, value in summary.items() if value is not ...})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"update": 2, "kl": "x"}', "kl must be a valid number"),
        (b'{"kl": 0.5}', "update is missing"),
        (b'{"update": "2"}', "update must be a valid integer"),
        (b'{"update": 2, "calibration": [[1, 2]]}', "calibration.0 List should have at least 3"),
        (b"{", "Expecting property name"),
    ],
)
def test_metrics(rlef: Any, training: RunFolder, text: bytes, message: str) -> None:
    with_line(training.metrics_path, 2, text)
    assert fails(rlef, "report", training.path).startswith(
        f"{training.metrics_path}:2 is damaged: {message}"
    )


def test_dialogues_of_a_page(rlef: Any, training: RunFolder) -> None:
    path = training.rollout_path("eval-after")
    with_line(path, 1, b'{"problem": "p"}')
    assert fails(rlef, "report", training.path) == (f"{path}:1 is damaged: family is missing")


def test_a_finished_evaluation_shows_what_rlef_eval_did(rlef: Any, evaluation: RunFolder) -> None:
    code, out, err = rlef("report", evaluation.path)
    assert (code, err) == (0, "")
    words = out.split()
    assert {"1@1", "1@2", "by", "repair", "problems"} <= set(words)
    assert f"episodes: {evaluation.rollouts_path}; more: {evaluation.summary_path}" in out
    assert out.endswith(f"\n{evaluation.report_path}\n") and evaluation.report_path.is_file()


def test_an_unfinished_evaluation_is_no_training(rlef: Any, evaluation: RunFolder) -> None:
    evaluation.summary_path.unlink()
    code, out, err = rlef("report", evaluation.path)
    assert (code, out) == (0, f"{evaluation.report_path}\n")
    assert err == (
        "an evaluation, not finished: 2 episodes so far; the same words go on: "
        f"rlef eval mini --data mini:test ... --out {evaluation.path}\n"
    )
    assert evaluation.report_path.is_file()


def test_a_training_is_no_evaluation(rlef: Any, training: RunFolder, problems: str) -> None:
    code, _, err = rlef("eval", "--compare", training.path, training.path)
    assert (code, err) == (
        2,
        f"rlef: {training.path} is a training; allowed: folders of rlef eval\n",
    )
    code, _, err = rlef("eval", "mini", "--data", problems, "--out", training.path)
    assert code == 2 and f"{training.path} is no evaluation" in err


def test_a_page_may_be_written_elsewhere(
    rlef: Any, training: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "page.html"
    assert rlef("report", training.path, "--out", out).out.endswith(f"{out}\n")
    assert out.read_text().startswith("<!doctype html>")
    assert rlef("report", training.path, "--out", out).code == 2

    def refused(*_: object, **__: object) -> Path:
        error = PermissionError(13, "Permission denied", str(training.report_path))
        raise RunWriteError(f"{training.report_path} cannot be written") from error

    monkeypatch.setattr("rlef.view.page.write_report", refused)
    access = os.access

    def may(path: Any, mode: int) -> bool:
        return access(path, mode) and not (mode == os.W_OK and path == training.path)

    monkeypatch.setattr(os, "access", may)
    monkeypatch.setattr(RunFolder, "lock", refused)
    for command in ("report", "train"):
        code, shown, err = rlef(command, training.path)
        assert code == 1, err
        assert shown.startswith("mini · 10 parameters")
        assert err == (
            f"rlef: {training.report_path}: Permission denied; to write the page elsewhere: "
            f"rlef report {training.path} --out FILE\n"
        )


def test_a_study_is_no_run(rlef: Any, training: RunFolder, tmp_path: Path) -> None:
    code, _, err = rlef("report", tmp_path)
    assert (
        code == 2 and f"{tmp_path} holds runs; allowed: one of them, such as {training.path}" in err
    )
    (tmp_path / "study.json").write_text("{")
    code, _, err = rlef("report", tmp_path)
    assert code == 1 and err.startswith(f"rlef: {tmp_path}/study.json is damaged: ")
    (tmp_path / "study.json").write_text("{}")
    page = tmp_path / "report.html"
    assert rlef("report", tmp_path) == (0, f"{page}\n", "") and page.is_file()


def test_without_the_database_there_is_no_page(
    rlef: Any, training: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, out, err = rlef("report", training.path)
    assert code == 1 and out.startswith("mini · 10 parameters")
    assert err == (
        f"rlef: {training.report_path} is not written: it needs duckdb; pip install duckdb, then: "
        f"rlef report {training.path}\n"
    )
