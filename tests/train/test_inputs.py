"""A run goes on with the files that it began with."""

import os
from pathlib import Path

import pytest

from rlef.config import dump_config, load_config
from rlef.run import RunError, RunFolder
from rlef.train.inputs import check_inputs, keep_inputs
from rlef.train.recipe import TrainConfig

Begun = tuple[RunFolder, TrainConfig, Path]


@pytest.fixture
def begun(tmp_path: Path) -> Begun:
    """A run of files in a folder, with a batch behind it."""
    own = tmp_path / "own"
    (own / "data" / "more").mkdir(parents=True)
    for name in ("template.jinja", "prompts.txt", "data/a.jsonl", "data/more/b.jsonl", "data/READ"):
        (own / name).write_text(name)
    (own / "model").mkdir()
    (own / "model" / "tokenizer_config.json").write_text("{}")
    (own / "model" / "model.safetensors").write_text("1")
    words = [f"model.chat_template={own}/template.jinja", f"rollout.prompts={own}/prompts.txt"]
    words += [f"data.train=mbpp:{own}/data:train", f"model.name={own}/model"]
    config = load_config(TrainConfig, "mini", words)
    run = RunFolder.create(tmp_path / "run", dump_config(config))
    keep_inputs(run, config)
    (own / "prompts.txt").write_text("edited before it began")
    assert run.is_untouched()
    keep_inputs(run, config)
    run.append_metrics({"update": 4})
    assert len(run.read_inputs()) == 5
    keep_inputs(run, config)
    return run, config, own


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("template.jinja", "other", r"template.jinja \(model.chat_template\) is not what it was"),
        ("prompts.txt", "x", r"prompts.txt \(rollout.prompts\) is not what it was"),
        ("data/more/b.jsonl", None, r"b.jsonl \(data.train\) is gone, which was there"),
        ("data/c.jsonl", "", r"c.jsonl \(data.train\) was not there"),
        ("model/tokenizer_config.json", "[]", r"\(model.name\) is not what it was"),
    ],
)
def test_a_run_does_not_go_on_with_another_file(
    begun: Begun, file: str, text: str | None, words: str
) -> None:
    run, config, own = begun
    if text is None:
        (own / file).unlink()
    else:
        (own / file).write_text(text)
    with pytest.raises(RunError, match=f"{words} when {run.path} began; allowed: ") as caught:
        check_inputs(run, config)
    assert "\n" not in str(caught.value)


def test_files_may_move_in_time_and_what_is_no_input_may_change(begun: Begun) -> None:
    run, config, own = begun
    os.utime(own / "data/a.jsonl", (1, 1))
    (own / "data/READ").write_text("me")
    (own / "model/model.safetensors").write_text("2")
    check_inputs(run, config)
    run.inputs_path.unlink()  # it begins now as far as is known
    check_inputs(run, config)
    keep_inputs(run, config)
    assert len(run.read_inputs()) == 5


def test_a_run_that_has_not_begun_goes_away_with_what_was_noted(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("")
    config = load_config(TrainConfig, "mini", [f"rollout.prompts={tmp_path}/p.txt"])
    run = RunFolder.create(tmp_path / "run", dump_config(config))
    keep_inputs(run, config)
    run.discard_if_untouched()
    assert not run.path.exists()
