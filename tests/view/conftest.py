from pathlib import Path

import pytest
from asking import Asker
from made_runs import make_evaluation, make_training

from rlef.run import RunFolder


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training, an evaluation, and what is no run."""
    folder = tmp_path_factory.mktemp("shown")
    training = make_training(folder / "one")
    make_training(folder / "more" / "two", batches=2, pending=0, seed=1)
    evaluation = make_evaluation(folder / "evaluated")
    after = evaluation.read_rollouts("eval")
    training.append_rollouts("eval-before", after[:20])
    training.append_rollouts("eval-after", after[20:])
    (folder / "notes").mkdir()
    (folder / "notes" / "secret.txt").write_text("not a run")
    return folder


@pytest.fixture(scope="session")
def training(shown: Path) -> RunFolder:
    return RunFolder(shown / "one")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def ask(shown: Path, cache: Path) -> Asker:
    return Asker(cache, shown)
