"""``rlef export``: a folder or a repository with model, card and settings; nothing overwritten."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from hub_server import HubServer
from huggingface_hub import ModelCard

from rlef.config import load_config
from rlef.engines.load import load_model, load_tokenizer
from rlef.environment import EpisodeRecord, StopReason, TurnRecord
from rlef.learner.checkpoint import save_policy
from rlef.report.runs import find_runs
from rlef.rollout.records import episode_to_json
from rlef.run import RunFolder
from rlef.sandbox import Verdict
from rlef.train.recipe import TrainConfig
from rlef.train.summary import summarize

Rlef = Callable[..., Any]
CONFIG: dict[str, Any] = {
    "name": "two",
    "model": {"name": "mini"},
    "updates": 8,
    "data": {"train": "mini:train", "valid": "mini:valid", "test": "jsonl:/home/me/held-out.jsonl"},
    "rollout": {"batch": 8, "prompts": "mini", "turn_limit": 2, "max_new_tokens": 64},
    "learner": {"minibatch": 4},
    "eval": {"every": 4, "random_feedback": False},
}
OWN_WARNINGS = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
"""Of huggingface_hub's own call of httpx."""
TIMES = ("generate_s", "judge_wait_s", "rollout_s", "update_s", "masked_infra", "masked_no_room")


def episodes(solved_at: Sequence[int]) -> list[EpisodeRecord]:
    """An episode each, of a problem each: solved at this turn, 0 for never."""
    found = []
    for number, turn in enumerate(solved_at):
        failed = TurnRecord(
            response="x", program="x", public_verdicts=(Verdict.WA,), feedback="Again."
        )
        last = replace(failed, feedback=None)
        done = replace(last, public_verdicts=(Verdict.AC,))
        turns = (failed, last) if turn == 0 else (*[failed] * (turn - 1), done)
        found.append(
            EpisodeRecord(
                problem=f"p{number}",
                family=None,
                hidden_detail=None,
                turns=turns,
                stop=StopReason.PUBLIC_PASSED if turn else StopReason.TURN_LIMIT,
                solved=turn > 0,
                final_verdict=Verdict.AC if turn else None,
            )
        )
    return found


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_policy(load_model("mini", "cpu"), load_tokenizer("mini"), folder)
    return folder


@pytest.fixture
def run(tmp_path: Path, weights: Path) -> RunFolder:
    """Two checkpoints, of which the first was the best, and what was measured of them."""
    config = TrainConfig.model_validate(CONFIG)
    made = RunFolder.create(
        tmp_path / "run", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    )
    for update, rate in ((4, 0.75), (8, 0.5)):
        line = {"update": update, "valid_solve_rate": rate, "policy_moved": 1}
        made.append_metrics({**line, **dict.fromkeys(TIMES, 1)})
        solved = [1, 2, 2, 0] if update == 4 else [1, 0, 2, 0]
        entries = [episode_to_json(record) for record in episodes(solved)]
        made.append_rollouts(f"valid-{update:06d}", entries)
        made.commit_checkpoint(_copied(weights, made), update)
    made.commit_named(_copied(weights, made), "best")
    return made


def _copied(weights: Path, run: RunFolder) -> Path:
    folder = run.new_checkpoint()
    for path in weights.iterdir():
        (folder / path.name).hardlink_to(path)
    return folder


def finish(run: RunFolder) -> None:
    config = load_config(TrainConfig, run.config_path, [])
    stages = {"before": [episodes([0, 0, 2, 0])], "after": [episodes([1, 0, 2, 0])]}
    run.write_summary(summarize(config, 2115264, run.read_metrics(), stages, 1.0))


def test_a_finished_run_has_a_card_that_the_hub_reads(
    run: RunFolder, tmp_path: Path, rlef: Rlef
) -> None:
    finish(run)
    out = tmp_path / "new" / "out"
    found = rlef("export", run.path, "--to", out)
    assert found.code == 0 and found.err == "after 4 updates\n"
    assert load_model(str(out), "cpu", "auto").dtype is torch.bfloat16  # type: ignore[arg-type]
    assert (out / "generation_config.json").is_file()
    rights = {path.stat().st_mode for path in out.iterdir() if path.is_file()}
    assert len(rights) == 1  # the weights are no more secret than the card
    assert load_tokenizer(str(out)).chat_template == load_tokenizer("mini").chat_template
    config = load_config(TrainConfig, out / "rlef" / "recipe.yaml", [])
    assert config == load_config(TrainConfig, run.config_path, [])
    assert not find_runs(out)
    card = ModelCard.load(out / "README.md")
    results = {(r.dataset_name, r.metric_type): r for r in card.data.eval_results or ()}
    test = "jsonl:held-out.jsonl (temperature 0.2, top-p 0.95)"
    assert results[test, "1@2"].metric_value == 50.0
    assert results[test, "solved-by-turn-1"].metric_value == 25.0
    valid = "mini:valid (temperature 0.2, top-p 0.95)"
    assert results[valid, "solved-by-turn-2"].metric_value == 75.0
    assert "| 1@2 | 25.0 " in card.text and "| 50.0 " in card.text
    assert "/home/me" not in card.content and str(tmp_path) not in card.content
    assert "4 test problems" in card.text and "It has 4 updates behind it." in card.text
    assert json.loads((out / "rlef" / "summary.json").read_text()) == run.read_summary()


def test_checkpoints_and_runs_that_go_on(run: RunFolder, tmp_path: Path, rlef: Rlef) -> None:
    found = rlef("export", run.path, "--to", tmp_path / "best")
    assert found.code == 0 and found.err == "after 4 updates; not the run's end\n"
    text = (tmp_path / "best" / "README.md").read_text()
    assert "in a run that had not come to its end." in text and "| 1@2 | 75.0 " in text
    assert not (tmp_path / "best" / "rlef" / "summary.json").exists()
    finish(run)  # its summary is of the best policy, not of the last
    assert rlef("export", run.path, "--checkpoint", "8", "--to", tmp_path / "last").code == 0
    text = (tmp_path / "last" / "README.md").read_text()
    assert "test problems" not in text and "| 1@2 | 50.0 " in text
    folder = run.checkpoint_path(8)
    assert rlef("export", folder, "--to", tmp_path / "folder").code == 0
    assert "It has 8 updates behind it" in (tmp_path / "folder" / "README.md").read_text()
    plain = rlef("export", "mini", "--to", tmp_path / "plain")
    assert plain.code == 0 and "no card: this is no policy of a run" in plain.err
    assert not (tmp_path / "plain" / "README.md").exists()


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_read_again(
    run: RunFolder, tmp_path: Path, rlef: Rlef, monkeypatch: pytest.MonkeyPatch, weights: Path
) -> None:
    loads = []

    def load(name: str, *words: Any) -> Any:
        loads.append(name)
        if len(loads) == 1:
            run.commit_named(_copied(weights, run), "best")
        return load_model(name, *words)

    monkeypatch.setattr("rlef.engines.load.load_model", load)
    assert rlef("export", run.path, "--to", tmp_path / "out").code == 0
    assert len(loads) == 2 and (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkpoint", "5"], "has no checkpoint after 5 updates; allowed: 4, 8"),
        (["--adapters"], "is a whole model; allowed: leave out --adapters"),
        (["--adapters", "--dtype", "float32"], "--dtype has no meaning with --adapters"),
        (["--public"], "--public has no meaning for a folder"),
        (["--to", "hf://me"], "'hf://me' names no repository; allowed: hf://OWNER/NAME"),
        (["--to", "s3://me/one"], "'s3://me/one' names no repository; allowed: hf://OWNER/NAME"),
        (["--to", "{used}"], "is in use; allowed: a new or an empty folder"),
        (["--to", "{run}/checkpoints/update-000009"], "among the checkpoints of a run; allowed"),
    ],
)
def test_what_is_refused_is_one_line(
    run: RunFolder, tmp_path: Path, rlef: Rlef, words: list[str], message: str
) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").write_text("x")
    words = [word.format(used=tmp_path / "used", run=run.path) for word in words]
    to = [] if "--to" in words else ["--to", tmp_path / "out"]
    found = rlef("export", run.path, *to, *words)
    assert found.code == 2 and message in found.err and found.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "used"]
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["mine"]


def test_float32_is_read_where_it_lies_beside_rounded_weights(
    run: RunFolder, tmp_path: Path, rlef: Rlef
) -> None:
    model = load_model("mini", "cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 2**-12)  # bfloat16 has eight bits
    folder = run.new_checkpoint()
    save_policy(model, load_tokenizer("mini"), folder, "bfloat16")
    run.commit_checkpoint(folder, 12)
    words = ["--checkpoint", 12, "--dtype", "float32"]
    assert rlef("export", run.path, *words, "--to", tmp_path / "out").code == 0
    exact = model.state_dict()
    for name, tensor in load_model(str(tmp_path / "out"), "cpu").state_dict().items():
        assert torch.equal(tensor, exact[name]), name
    (beside,) = (run.checkpoint_path(12) / "learner").iterdir()
    beside.write_bytes(beside.read_bytes()[:-9])
    cut = rlef("export", run.path, *words, "--to", tmp_path / "cut")
    assert cut.code == 2 and "its weights in float32 cannot be read" in cut.err


def test_a_run_of_another_version_is_refused_before_anything_is_written(
    run: RunFolder, tmp_path: Path, rlef: Rlef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlef.engines.load.load_tokenizer", pytest.fail)
    run.write_config(run.read_config().replace("rollout:", "rollout:\n  today: x"))
    found = rlef("export", run.path, "--to", tmp_path / "out")
    assert found.code == 2 and "unknown key rollout.today" in found.err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_full_disk_is_named_by_the_folder(
    run: RunFolder, tmp_path: Path, rlef: Rlef, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def save_pretrained(self, _: Path) -> None:  # as tokenizers says it
            raise Exception("No space left on device (os error 28)")

    monkeypatch.setattr("rlef.engines.load.load_tokenizer", lambda _: Full())
    found = rlef("export", run.path, "--to", tmp_path / "out")
    assert found.code == 1
    assert found.err.startswith(f"rlef: {tmp_path / 'out'}: No space left on device; make room")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_hub_that_says_nothing_is_not_waited_for(
    run: RunFolder, rlef: Rlef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlef.cli.hub._check_repository", lambda _: threading.Event().wait(5))
    monkeypatch.setattr("rlef.cli.hub._WAIT_S", 0.05)
    found = rlef("export", run.path, "--to", "hf://me/one")
    assert found.code == 1 and "the Hub cannot be asked (no answer in 0.05 s)" in found.err


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    server = HubServer()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    yield server
    server.close()


@OWN_WARNINGS
def test_a_repository_of_the_hub(
    run: RunFolder, tmp_path: Path, rlef: Rlef, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    found = rlef("export", run.path, "--to", "hf://me/one")
    assert found.code == 0 and f"{hub.url}/me/one: 2,115,264 parameters" in found.out
    files = hub.repositories["me/one"]
    assert hub.visibility["me/one"] == "private"
    assert {"README.md", "config.json", "model.safetensors", "rlef/recipe.yaml"} <= files.keys()
    local = tmp_path / "copy"
    local.mkdir()
    for name in ("config.json", "model.safetensors"):
        (local / name).write_bytes(files[name])
    assert load_model(str(local), "cpu").num_parameters() == 2115264
    again = rlef("export", run.path, "--to", "hf://me/one")
    assert again.code == 2 and "me/one on the Hub has files" in again.err
    assert not list(tmp_path.glob("rlef-export-*"))


@OWN_WARNINGS
def test_what_the_hub_refuses(
    run: RunFolder, tmp_path: Path, rlef: Rlef, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    other = rlef("export", run.path, "--to", "hf://you/one")
    assert other.code == 2 and "the token is not its owner's; allowed: me, team" in other.err
    hub.refuses_commits = True
    failed = rlef("export", run.path, "--to", "hf://team/two", "--public")
    assert failed.code == 1 and "the Hub refuses: " in failed.err and failed.err.count("\n") == 1
    (kept,) = tmp_path.glob("rlef-export-*-kept")
    assert str(kept) in failed.err and (kept / "README.md").is_file()
    assert hub.visibility["team/two"] == "public"
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    nobody = rlef("export", run.path, "--to", "hf://me/three")
    assert nobody.code == 2 and "the Hub wants a token; allowed: hf auth login" in nobody.err
