"""The runs that are shown: what kind each is, how far it is, its settings and its stages."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from rlef.run import RunDamagedError, RunFolder
from rlef.run.files import Record
from rlef.stored import read_options, read_summary, turn_limit
from rlef.view.batch_files import BatchCheck
from rlef.view.cache import Cache
from rlef.view.database import Database
from rlef.view.errors import ViewError, missing
from rlef.view.folders import Folders, Found
from rlef.view.lines import LinesStage
from rlef.view.metric_lines import MetricLines
from rlef.view.training import TrainingStage

_EVALUATION = "eval"


class Stage(Protocol):
    """Episodes of a run that belong together: of training, or of one evaluation."""

    @property
    def name(self) -> str:
        """How links name it."""
        ...

    @property
    def damage(self) -> str | None:
        """One line on what cannot be read, if anything."""
        ...

    def outcomes(self) -> pa.Table:
        """All episodes, as ``OUTCOMES``; the same object where nothing has changed."""
        ...

    def texts(self) -> pa.Table:
        """What was written in them, as ``TEXTS``."""
        ...

    def read(self, row: int, place: int, size: int) -> Record:
        """One episode in full."""
        ...


class Run:
    """A run that is shown.

    Args:
        found: Where it is.
        folders: What may be read.
        cache: Folder of the cache; ``None``: nothing is kept.
        database: Works tables out.
    """

    def __init__(
        self, found: Found, folders: Folders, cache: Path | None, database: Database
    ) -> None:
        self.id, self.path = found.id, found.path
        self.folder = RunFolder(found.path)
        self.metrics = MetricLines(self.folder.metrics_path, folders.holds)
        self._folders, self._database = folders, database
        self._cache = Cache(cache, found.path)
        self._stages: dict[str, Stage] = {}
        self._lock = threading.Lock()
        self._batches = BatchCheck(self.folder.training_path, self.allowed)
        self._options: tuple[object, Record] | None = None

    @property
    def database(self) -> Database:
        """Works tables out."""
        return self._database

    def allowed(self, path: Path) -> bool:
        """Whether a file stands in the folders that are shown, wherever its links lead."""
        return self._folders.holds(path)

    def options(self) -> Record:
        """The config as it stands in the file.

        Raises:
            ViewError: It cannot be read.
        """
        try:
            status = self.folder.config_path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._options is None or self._options[0] != seen:  # parsing takes a while
                self._options = seen, read_options(self.folder)
            return self._options[1]
        except (RunDamagedError, OSError) as error:
            raise ViewError(409, str(error)) from None

    def summary(self) -> Record | None:
        """What it came to, ``None`` while it is not finished.

        Raises:
            ViewError: It cannot be read.
        """
        if not self._is_shown(self.folder.summary_path):
            return None
        try:
            return read_summary(self.folder, self.options())
        except (RunDamagedError, OSError) as error:
            raise ViewError(409, str(error)) from None

    def inputs(self) -> list[Record]:
        """What is noted of the files that it is made of; nothing where there is no note.

        Raises:
            RunDamagedError: It cannot be read.
        """
        return self.folder.read_inputs() if self._is_shown(self.folder.inputs_path) else []

    def stage_names(self) -> list[str]:
        """Training first, if it has any rollout, then the evaluations."""
        names = []
        if self._is_shown(self.folder.rollouts_path):
            names = self.folder.rollout_names()
        names = [name for name in names if self._is_shown(self.folder.rollout_path(name))]
        training = self.folder.training_path
        if self._is_shown(training) and self.folder.has_training_rollouts():
            return ["train", *(name for name in names if name != "train")]
        return names

    def stage(self, name: str) -> Stage:
        """A stage by its name.

        Raises:
            ViewError: There is none.
        """
        with self._lock:
            if name not in self._stages:
                if name not in self.stage_names():
                    raise missing(f"stage {name!r} in this run")
                self._stages[name] = (
                    TrainingStage(
                        self.folder.training_path, self._cache, self._database, self.allowed
                    )
                    if name == "train"
                    else LinesStage(
                        name,
                        self.folder.rollout_path(name),
                        self._cache,
                        self._database,
                        self.allowed,
                    )
                )
            return self._stages[name]

    def opened(self) -> list[Stage]:
        """The stages that somebody has looked at."""
        with self._lock:
            return list(self._stages.values())

    def damage(self) -> str | None:
        """One line on what cannot be read, as far as it is seen without reading much."""
        known = next((damage for stage in self.opened() if (damage := stage.damage)), None)
        training = self.folder.training_path
        return known or (self._batches.damage() if self._is_shown(training) else None)

    def last_evaluation(self) -> Stage:
        """The evaluation that says most of what the run came to.

        Raises:
            ViewError: There is none.
        """
        names = [name for name in self.stage_names() if name != "train"]
        for name in ("eval-after", _EVALUATION):
            if name in names:
                return self.stage(name)
        validations = [name for name in names if name.startswith("valid-")]
        chosen = (validations or [name for name in names if name == "eval-before"])[-1:]
        if not chosen:
            raise missing(f"evaluation in {self.id}")
        return self.stage(chosen[0])

    def turn_limit(self, stage: str, options: Mapping[str, Any]) -> int:
        """The turns that an episode of a stage may have; 1 where nobody says."""
        return turn_limit(options, of_training=stage == "train")

    def _is_shown(self, path: Path) -> bool:
        return not path.exists() or self.allowed(path)


class Library:
    """All runs that are shown.

    Args:
        folders: Where they are.
        cache: Folder of the cache; ``None``: nothing is kept.
    """

    def __init__(self, folders: Folders, cache: Path | None) -> None:
        self.folders, self.database = folders, Database()
        self._cache = cache
        self._runs: dict[Path, Run] = {}
        self._lock = threading.Lock()

    def run(self, run_id: str) -> Run:
        """A run by its id.

        Raises:
            ViewError: There is none.
        """
        found = self.folders.find(run_id)
        if found.kind != "run":
            raise ViewError(400, f"{found.id} is a study, not a run")
        return self.of(found)

    def of(self, found: Found) -> Run:
        """The run of a folder."""
        with self._lock:
            run = self._runs.get(found.path)
            if run is None or run.id != found.id:
                run = Run(found, self.folders, self._cache, self.database)
                self._runs[found.path] = run
            return run
