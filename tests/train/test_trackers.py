"""Trackers: each step once, the same run when it goes on, and no failure that ends a training.

Tests with a tracker's own package need it: ``dev/trackers_env.sh`` makes a place where all are.
"""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rlef.config import ConfigError, dump_config, flat_values, load_config
from rlef.run import RunFolder
from rlef.train.checks import check_training
from rlef.train.progress import Silent
from rlef.train.recipe import TrainConfig
from rlef.train.trackers import Tracked, headline_figures
from rlef.train.trackers.types import TrackedRun

RATE = {"mean": 0.5, "low": 0.4, "high": 0.6}
STAGE = {"solve": RATE, "solve_rate_by_turn": [RATE, RATE], "repair_rate": {**RATE, "mean": None}}
SUMMARY = {"updates": 8, "before": STAGE, "after": STAGE, "gain": RATE, "also": {"after": STAGE}}


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.updates: list[object] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def update(self, metrics: Mapping[str, object]) -> None:
        self.updates.append(metrics["update"])


class Fake:
    """Remembers what it is told; fails where the test says so."""

    steps: list[int] = []  # noqa: RUF012 a store, which outlives a process
    opened: list[TrackedRun] = []  # noqa: RUF012
    figures: dict[str, float] = {}  # noqa: RUF012
    closed: list[bool] = []  # noqa: RUF012
    late: list[int] = []  # noqa: RUF012
    fails_at: int | None = None

    def __init__(self, run: TrackedRun) -> None:
        self.id = run.id_or_new()
        Fake.opened.append(run)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        if metrics == {"valid_solve_rate": 0.5}:
            Fake.late.append(step)
            return
        assert metrics == {"kl": 0.25 * step, "policy_moved": 1.0}
        if step == Fake.fails_at:
            raise ConnectionError("gone\nfor now")
        Fake.steps.append(step)

    def finish(self, figures: Mapping[str, float], step: int) -> None:
        Fake.figures = {**figures, "step": step}

    def close(self, *, finished: bool) -> None:
        Fake.closed.append(finished)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    module = ModuleType("rlef.train.trackers.wandb")
    module.open_tracker = Fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rlef.train.trackers.wandb", module)
    for name, value in {"steps": [], "opened": [], "closed": [], "late": [], "figures": {}}.items():
        monkeypatch.setattr(Fake, name, value)
    monkeypatch.setattr(Fake, "fails_at", None)
    return Fake


def start(path: Path, *names: str) -> tuple[TrainConfig, RunFolder]:
    config = load_config(TrainConfig, "mini", [f"trackers=[{', '.join(names)}]"])
    return config, RunFolder.create(path, dump_config(config))


def line(update: int) -> dict[str, Any]:
    return {
        **{"update": update, "kl": 0.25 * update, "policy_moved": 1, "reward": float("nan")},
        **{"calibration": [[1, 2, 3]], "bad": None},
    }


def go(config: TrainConfig, run: RunFolder, *updates: int, end: bool = False) -> Told:
    """A process that comes to some updates; those that are there are repeated from the first on."""
    run.truncate_metrics_after(updates[0] - 1)
    told = Told()
    with Tracked(config, run, told) as tracked:
        tracked.begin()
        for update in updates:
            run.append_metrics(line(update))
            tracked.update(line(update))
        if end:
            tracked.finish(SUMMARY)
    return told


def test_a_run_that_goes_on_is_the_same_and_has_each_step_once(
    fake: type[Fake], tmp_path: Path
) -> None:
    config, run = start(tmp_path / "run", "wandb")
    assert go(config, run, 1, 2, 3).updates == [1, 2, 3]
    assert go(config, run, 2, 3, 4, end=True).updates == [2, 3, 4]
    assert fake.steps == [1, 2, 3, 4]
    first, second = fake.opened
    assert first.id is None and second.id is not None
    assert first.config == flat_values(config) and first.config["learner.lr"] == 4e-4
    assert fake.closed == [False, True]
    assert fake.figures["step"] == 8 and fake.figures["eval/gain"] == 0.5
    assert fake.figures["eval_also/after/solve_rate/turn_2"] == 0.5
    assert "eval/after/repair_rate" not in fake.figures  # undefined


def test_what_becomes_known_late_is_logged_at_its_step(fake: type[Fake], tmp_path: Path) -> None:
    config, run = start(tmp_path / "run", "wandb")
    go(config, run, 1, 2)
    with Tracked(config, run, Told()) as tracked:
        tracked.begin()
        run.complete_metrics({"valid_solve_rate": 0.5})
        tracked.completed({"valid_solve_rate": 0.5})
    assert (fake.steps, fake.late) == ([1, 2], [2])


def test_a_number_beyond_all_floats_is_left_out(fake: type[Fake], tmp_path: Path) -> None:
    config, run = start(tmp_path / "run", "wandb")
    run.append_metrics({**line(1), "huge": 10**400})
    with Tracked(config, run, Told()) as tracked:
        tracked.begin()
    assert fake.steps == [1]


def test_a_tracker_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trackers: .*names a tracker twice; allowed: each once"):
        start(tmp_path / "run", "wandb", "wandb")


def test_one_that_fails_is_told_once_and_gets_what_it_missed(
    fake: type[Fake], tmp_path: Path
) -> None:
    config, run = start(tmp_path / "run", "wandb")
    fake.fails_at = 2
    told = go(config, run, 1, 2, 3, end=True)
    assert told.updates == [1, 2, 3] and fake.steps == [1] and not fake.figures
    assert len(told.lines) == 1
    assert told.lines[0].startswith("the tracker wandb failed (gone for now); training goes on")
    fake.fails_at = None
    assert go(config, run, 4).lines == []
    assert fake.steps == [1, 2, 3, 4]


def test_one_that_cannot_begin_is_told_once(
    monkeypatch: pytest.MonkeyPatch, fake: type[Fake], tmp_path: Path
) -> None:
    config, run = start(tmp_path / "run", "wandb")
    monkeypatch.setattr(Fake, "__init__", lambda *_: 1 / 0)
    told = go(config, run, 1, 2, end=True)
    assert told.updates == [1, 2] and len(told.lines) == 1 and "division" in told.lines[0]


@pytest.mark.parametrize(
    "text", ["[", "[]", '{"wandb": 5}', '{"wandb": {"id": "x", "step": "many"}}', "\0\0"]
)
def test_a_damaged_state_ends_nothing(fake: type[Fake], tmp_path: Path, text: str) -> None:
    config, run = start(tmp_path / "run", "wandb")
    (run.path / "trackers.json").write_text(text)
    told = go(config, run, 1)
    assert told.updates == [1] and len(told.lines) == 1 and not fake.steps


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio", "mlflow"])
def test_a_missing_package_is_told_before_anything_begins(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config = load_config(TrainConfig, "mini", [f"trackers=[{name}]"])
    monkeypatch.setattr("rlef.extras.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf'trackers holds {name}, .* pip install "rlef\[{name}'):
        check_training(config, ask_hub=False)


def test_figures_of_a_run_without_evaluations() -> None:
    assert headline_figures({}) == {}


GO = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_trackers import go
from rlef.config import load_config
from rlef.run import RunFolder
from rlef.train.recipe import TrainConfig
run = RunFolder.open(sys.argv[1])
config = load_config(TrainConfig, run.config_path, [])
updates = [int(word) for word in sys.argv[3].split(",")]
told = go(config, run, *updates, end=updates[-1] == 4)
assert told.lines == [], told.lines
assert told.updates == updates
"""


def process(run: RunFolder, updates: str, **env: str) -> None:
    """A process that logs to the real tracker."""
    done = subprocess.run(
        [sys.executable, "-c", GO, str(run.path), str(Path(__file__).parent), updates],
        env={**os.environ, **env},
        cwd=run.path.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def begun(tmp_path: Path, name: str, **env: str) -> tuple[RunFolder, str]:
    """A run of two processes with a real tracker; returns its id there."""
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed (dev/trackers_env.sh)")
    _, run = start(tmp_path / "run", name)
    process(run, "1,2,3", **env)
    process(run, "2,3,4", **env)
    state = json.loads((run.path / "trackers.json").read_text())
    assert state[name]["step"] == 4
    return run, state[name]["id"]


STEPS = [(step, 0.25 * step) for step in (1, 2, 3, 4)]


@pytest.mark.slow
def test_tensorboard(tmp_path: Path) -> None:
    run, _ = begun(tmp_path, "tensorboard")
    code = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]).Reload()
print(json.dumps({tag: [(e.step, e.value) for e in events.Scalars(tag)]
                  for tag in events.Tags()["scalars"]}))
"""
    out = subprocess.check_output(
        [sys.executable, "-c", code, str(run.path / "tensorboard")], stderr=subprocess.DEVNULL
    )
    found = json.loads(out)
    assert [tuple(pair) for pair in found["kl"]] == STEPS
    assert found["eval/after/solve_rate/turn_1"] == [[8, 0.5]]


@pytest.mark.slow
def test_wandb_offline(tmp_path: Path) -> None:
    run, run_id = begun(tmp_path, "wandb", WANDB_MODE="offline")
    folders = sorted((run.path / "wandb").glob("offline-run-*"))
    assert len(folders) == 2 and all(path.name.endswith(run_id) for path in folders)
    found: list[tuple[int, float]] = []
    for folder in folders:
        found += wandb_history(next(folder.glob("*.wandb")))
    assert found == STEPS


def wandb_history(path: Path) -> list[tuple[int, float]]:
    from wandb.proto import wandb_internal_pb2

    found = []
    for data in log_records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = {
                item.key or ".".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            found.append((record.history.step.num, items["kl"]))
    return found


def log_records(data: bytes, block: int = 2**15) -> Iterator[bytes]:
    """The records of a log as LevelDB writes it: blocks of pieces, each with a header."""
    place, whole = 7, b""  # behind the file's own header
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        whole += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # all of it, or its end
            yield whole
            whole = b""


@pytest.mark.slow
def test_trackio(tmp_path: Path) -> None:
    place = {"TRACKIO_DIR": str(tmp_path / "trackio")}
    _, name = begun(tmp_path, "trackio", **place)
    code = """
import json, sys
from trackio.sqlite_storage import SQLiteStorage
rows = SQLiteStorage.get_logs("rlef", sys.argv[1])
print(json.dumps([(row["step"], row["kl"]) for row in rows if row.get("kl") is not None]))
print(json.dumps([row["eval/gain"] for row in rows if row.get("eval/gain") is not None]))
"""
    out = subprocess.check_output([sys.executable, "-c", code, name], env={**os.environ, **place})
    steps, gains = map(json.loads, out.splitlines())
    assert [tuple(pair) for pair in steps] == STEPS
    assert gains == [0.5]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["sqlite", "file"])
def test_mlflow(tmp_path: Path, scheme: str) -> None:
    uri = f"sqlite:///{tmp_path}/m.db" if scheme == "sqlite" else f"file://{tmp_path}/m"
    place = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_FILE_STORE": "true"}
    _, run_id = begun(tmp_path, "mlflow", **place)
    code = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient()
run = client.get_run(sys.argv[1])
print(json.dumps([(m.step, m.value) for m in client.get_metric_history(sys.argv[1], "kl")]))
print(json.dumps([run.info.status, run.data.params["learner.lr"],
                  {k.replace(".", "/"): v for k, v in run.data.metrics.items()}["eval/gain"]]))
"""
    out = subprocess.check_output(
        [sys.executable, "-c", code, run_id], env={**os.environ, **place},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    steps, end = map(json.loads, out.splitlines())
    assert sorted(map(tuple, steps)) == STEPS
    assert end == ["FINISHED", "0.0004", 0.5]
