"""A run goes on from another folder than the one it was begun in."""

from pathlib import Path

import pytest

from rlef.config import changed_keys, load_config
from rlef.problems.load import absolute_spec, load_problems
from rlef.train.paths import absolute_paths
from rlef.train.recipe import TrainConfig

TEST = '[{"input": "1", "output": "1"}]'
ROW = f'{{"name": "NAME", "statement": "s", "public_tests": {TEST}, "private_tests": {TEST}}}\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, in which the process stands."""
    (tmp_path / "data").mkdir()
    for name in ("three.jsonl", "a:b.jsonl", "what?.jsonl"):
        rows = (ROW.replace("NAME", f"p{i}") for i in range(3))
        (tmp_path / "data" / name).write_text("".join(rows))
    (tmp_path / "mini").mkdir()
    (tmp_path / "models" / "own").mkdir(parents=True)
    (tmp_path / "p.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("jsonl:data/three.jsonl", "jsonl:HERE/data/three.jsonl"),
        ("jsonl:data/three.jsonl?first=2", "jsonl:HERE/data/three.jsonl?first=2"),
        ("jsonl:data/a:b.jsonl", "jsonl:HERE/data/a:b.jsonl"),
        ("jsonl:data/a:b.jsonl?first=2", "jsonl:HERE/data/a:b.jsonl?first=2"),
        ("jsonl:data/what?.jsonl", "jsonl:HERE/data/what?.jsonl"),
        ("mbpp:data:test?first=2", "mbpp:HERE/data:test?first=2"),
        ("mbpp:data/three.jsonl:test", "mbpp:HERE/data/three.jsonl:test"),
        *((same, same) for same in ("mini:train", "mbpp:hub", "mbpp:no/such:test", "x:data", "?")),
        *((same, same) for same in ("jsonl:none.jsonl", "jsonl:/none", "jsonl:", "")),
    ],
)
def test_data_on_this_disk_gets_an_absolute_path(here: Path, spec: str, wanted: str) -> None:
    found = absolute_spec(spec)
    assert found == wanted.replace("HERE", str(here))
    assert absolute_spec(found) == found


def test_a_config_means_the_same_from_another_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["data.train=jsonl:data/a:b.jsonl?first=2", "rollout.prompts=p.txt"]
    words += ["model=models/own", "model.chat_template=t.jinja"]
    (here / "t.jinja").write_text("x")
    typed = load_config(TrainConfig, "mini", words)
    kept = absolute_paths(typed)
    assert set(changed_keys(typed, kept)) == {
        *("model.name", "model.chat_template", "data.train", "rollout.prompts")
    }
    assert kept.data.test == typed.data.test and kept.model.name == str(here / "models" / "own")
    assert kept.model.chat_template == str(here / "t.jinja")
    shipped = absolute_paths(load_config(TrainConfig, "mini", []))
    assert shipped.model.name == "mini"  # whatever is here
    assert absolute_paths(kept) == kept
    monkeypatch.chdir(here / "models")
    assert [problem.name for problem in load_problems(kept.data.train)] == ["p0", "p1"]
    assert absolute_paths(kept) == kept
