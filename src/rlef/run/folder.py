"""Paths and files of a run, but for the columns of its training rollouts (``training.py``)."""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from rlef.run.files import (
    Record,
    RunBusyError,
    RunDamagedError,
    RunError,
    RunExistsError,
    append_lines,
    create_file,
    dump_lines,
    json_value,
    make_folder,
    open_to_others,
    read_lines,
    replace_file,
    sync,
    writing,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CHECKPOINT = re.compile(r"update-(\d{6,})")


class Checkpoint(NamedTuple):
    """A complete checkpoint."""

    update: int
    """Updates done when it was made."""
    path: Path


class RunFolder:
    """Paths and files of one run. Making the object touches no file.

    Example:
        >>> import tempfile
        >>> run = RunFolder.create(Path(tempfile.mkdtemp()) / "run", config="seed: 0")
        >>> run.append_metrics({"update": 1, "kl": float("nan")})
        >>> run.read_metrics()
        [{'update': 1, 'kl': None}]
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.yaml"
        self.metrics_path = self.path / "metrics.jsonl"
        self.rollouts_path = self.path / "rollouts"
        self.training_path = self.rollouts_path / "train"
        self.checkpoints_path = self.path / "checkpoints"
        self.best_path = self.checkpoints_path / "best"
        self.inputs_path = self.path / "inputs.jsonl"
        self.summary_path = self.path / "summary.json"
        self.report_path = self.path / "report.html"
        self.log_path = self.path / "rlef.log"
        self.lock_path = self.path / ".lock"
        self._is_locked = False
        self._new_parents: Sequence[Path] = ()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    # --- the folder ---

    @classmethod
    def create(cls, path: Path | str, config: str, made: Sequence[Path] = ()) -> "RunFolder":
        """Makes a new run, with its config as YAML.

        Args:
            path: Its folder.
            config: YAML text.
            made: Folders that were made for it, from the innermost on: they go where it goes.

        Raises:
            RunExistsError: There is a run, maybe since a moment ago.
            RunError: The path is a file, or a folder that holds something else.
        """
        run = cls(path)
        taken = f"{run.path} holds a run already; go on with it or choose another path"
        if run.is_run():
            raise RunExistsError(taken)
        check_free_folder(run.path)
        missing = [folder for folder in run.path.parents if not folder.exists()]
        if not create_file(run.config_path, config.encode()):  # first: then it can be opened
            raise RunExistsError(taken)
        for folder in (run.rollouts_path, run.checkpoints_path):
            with writing(folder):
                make_folder(folder)
        run._new_parents = [*missing, *(one for one in made if one != run.path)]
        return run

    @classmethod
    def open(cls, path: Path | str) -> "RunFolder":
        """Opens an existing run, and changes nothing in it.

        Raises:
            RunError: There is none.
        """
        run = cls(path)
        if not run.is_run():
            what = "is a file" if run.path.is_file() else "does not exist"
            what = "has no config.yaml" if run.path.is_dir() else what
            raise RunError(f"{run.path} {what}; allowed: the folder of a run")
        return run

    def is_run(self) -> bool:
        """Whether the folder holds a run."""
        return self.config_path.is_file()

    def is_untouched(self) -> bool:
        """Whether nothing has been done in it yet, so that its config may still change.

        A folder that holds anything else than an empty run may be the user's own.
        """
        names = {path.name for path in self.path.iterdir() if not path.name.startswith(".")}
        folders = (self.rollouts_path, self.checkpoints_path)
        made = (self.config_path, self.inputs_path, self.log_path, *folders)
        if not names <= {path.name for path in made}:
            return False
        return not any(any(path.iterdir()) for path in folders if path.is_dir())

    def discard_if_untouched(self) -> None:
        """Removes a run in which nothing has been done, for a command that could not begin."""
        if not self.is_run() or not self.is_untouched():
            return
        self.config_path.unlink()
        for path in (self.lock_path, self.log_path, self.inputs_path):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # hidden files of others may stay
            for path in (self.rollouts_path, self.checkpoints_path):
                if path.is_dir():
                    path.rmdir()
            for path in (self.path, *self._new_parents):
                path.rmdir()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes from writing to this run; may be nested.

        Raises:
            RunBusyError: Another process (or another ``RunFolder``) holds the lock.
        """
        if self._is_locked:
            yield
            return
        with self.lock_path.open("a+", encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                process, _, machine = file.read(400).strip().partition(" ")
                holder = (process or "unknown") + (f" on {machine}" if machine else "")
                raise RunBusyError(
                    f"{self.path} is in use by process {holder}; wait for it or end it"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()} {this_machine()}")
            file.flush()
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False

    # --- config and summary ---

    def write_config(self, config: str) -> None:
        """Writes the config, YAML text."""
        replace_file(self.config_path, config.encode())

    def read_config(self) -> str:
        """The config as YAML text (``load_config(type, run.config_path, [])`` parses it)."""
        return self.config_path.read_text(encoding="utf-8")

    def write_inputs(self, files: Iterable[Mapping[str, object]]) -> None:
        """Writes which files the run is made of, in place of what stood there."""
        replace_file(self.inputs_path, dump_lines(files))

    def read_inputs(self) -> list[Record]:
        """Returns what ``write_inputs`` wrote; nothing where there is no file.

        Raises:
            RunDamagedError: A line is damaged.
        """
        return read_lines(self.inputs_path)

    def write_summary(self, summary: Mapping[str, object]) -> None:
        """Writes what the run came to."""
        text = json.dumps(json_value(summary), indent=2) + "\n"
        replace_file(self.summary_path, text.encode())

    def write_text(self, name: str, text: str) -> Path:
        """Writes a further file of the folder, such as ``summary.md``, whole. Returns its path."""
        replace_file(self.path / name, text.encode())
        return self.path / name

    def read_summary(self) -> Record | None:
        """What the run came to, or ``None`` while it is not finished."""
        if not self.summary_path.is_file():
            return None
        try:
            summary: Record = json.loads(self.summary_path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise RunDamagedError(f"{self.summary_path} is damaged: {error}") from None
        if not isinstance(summary, dict) or not summary:
            raise RunDamagedError(f"{self.summary_path} is damaged: it holds no summary")
        return summary

    # --- metrics ---

    def append_metrics(self, metrics: Mapping[str, object]) -> None:
        """Adds one line, on disk when the call returns."""
        append_lines(self.metrics_path, [metrics])

    def read_metrics(self) -> list[Record]:
        """All lines in order; none where there is no file.

        Raises:
            RunDamagedError: A line is damaged.
        """
        return read_lines(self.metrics_path)

    def truncate_metrics_after(self, update: int) -> None:
        """Drops the lines of later updates, which a run that goes on will write again."""
        lines = self.read_metrics()
        for number, line in enumerate(lines, start=1):
            if type(line.get("update")) is not int:
                raise RunDamagedError(f"{self.metrics_path}:{number} is damaged: no update")
        kept = [line for line in lines if line["update"] <= update]
        if len(kept) < len(lines):
            replace_file(self.metrics_path, dump_lines(kept))

    def complete_metrics(self, found: Mapping[str, object]) -> None:
        """Adds to the last line what was not known when it was written."""
        *lines, last = self.read_metrics()
        replace_file(self.metrics_path, dump_lines([*lines, {**last, **found}]))

    # --- rollouts ---

    def write_rollouts(self, name: str, records: Iterable[Mapping[str, object]]) -> None:
        """Writes ``rollouts/NAME.jsonl`` whole, in place of an older one."""
        replace_file(self.rollout_path(name), dump_lines(records))

    def append_rollouts(self, name: str, records: Iterable[Mapping[str, object]]) -> None:
        """Adds to ``rollouts/NAME.jsonl``.

        Such a file exists from its first record on: whether it is complete, its length must say.
        """
        append_lines(self.rollout_path(name), records)

    def read_rollouts(self, name: str) -> list[Record]:
        """The records of ``rollouts/NAME.jsonl``; none where there is no file.

        Raises:
            RunDamagedError: A line is damaged.
        """
        return read_lines(self.rollout_path(name))

    def keep_rollouts(self, name: str, wanted: Callable[[Record], bool]) -> None:
        """Drops the other lines of ``rollouts/NAME.jsonl``.

        Raises:
            RunDamagedError: A line is damaged.
        """
        lines = self.read_rollouts(name)
        kept = [line for line in lines if wanted(line)]
        if len(kept) < len(lines):
            self.write_rollouts(name, kept)

    def has_rollouts(self, name: str) -> bool:
        """Whether ``rollouts/NAME.jsonl`` exists."""
        return self.rollout_path(name).is_file()

    def rollout_names(self) -> list[str]:
        """Names of all files of rollouts but those of training, sorted.

        Files of other names, as a Mac's ``._eval-after.jsonl`` and copies by hand, are not ours.
        """
        names = (path.stem for path in self.rollouts_path.glob("*.jsonl"))
        return sorted(name for name in names if _NAME.fullmatch(name))

    def has_training_rollouts(self) -> bool:
        """Whether a training has finished any episode (``rlef.run.training`` reads them)."""
        folder = self.training_path
        return folder.is_dir() and any(path.name[0] != "." for path in folder.iterdir())

    def rollout_path(self, name: str) -> Path:
        """The file of the rollouts of this name.

        Raises:
            RunError: The name is not made of letters, digits, ".", "_" and "-".
        """
        if not _NAME.fullmatch(name):
            raise RunError(f"rollouts cannot be called {name!r}; allowed: letters, digits, . _ -")
        return self.rollouts_path / f"{name}.jsonl"

    # --- checkpoints ---

    def checkpoint_path(self, update: int) -> Path:
        """Where the checkpoint after so many updates stands once it is complete."""
        return self.checkpoints_path / f"update-{update:06d}"

    def new_checkpoint(self) -> Path:
        """An empty folder to write the next checkpoint to; what a killed writer left is removed."""
        for leftover in self.checkpoints_path.glob("tmp-*"):
            shutil.rmtree(leftover)
        path = self.checkpoints_path / "tmp-new"
        path.mkdir(parents=True)
        return path

    def commit_checkpoint(self, tmp_dir: Path, update: int, keep: int | None = None) -> Path:
        """Makes a written folder the checkpoint of an update.

        Args:
            tmp_dir: From ``new_checkpoint``, with all files written and closed.
            update: Updates done.
            keep: How many of the latest checkpoints to keep; ``None``: all.

        Returns:
            Its final path.

        Raises:
            ValueError: ``keep`` is less than 1.
        """
        if keep is not None and keep < 1:
            raise ValueError(f"keep is {keep}; allowed: 1 or more, or None for all")
        path = self._commit(tmp_dir, self.checkpoint_path(update))
        for old in self.checkpoints()[: -keep if keep else 0]:
            self._drop_checkpoint(old.path)
        return path

    def commit_named(self, tmp_dir: Path, name: str) -> Path:
        """Makes a written folder ``checkpoints/NAME``, in place of an older one.

        Args:
            tmp_dir: From ``new_checkpoint``, with all files written and closed.
            name: Of a folder that is no numbered checkpoint.

        Returns:
            Its final path.
        """
        return self._commit(tmp_dir, self.checkpoints_path / name)

    def checkpoints(self) -> Sequence[Checkpoint]:
        """The complete checkpoints, oldest first."""
        if not self.checkpoints_path.is_dir():
            return []
        matches = ((_CHECKPOINT.fullmatch(p.name), p) for p in self.checkpoints_path.iterdir())
        return sorted(Checkpoint(int(match[1]), path) for match, path in matches if match)

    def latest_checkpoint(self) -> Checkpoint | None:
        """The complete checkpoint of the latest update, if any."""
        checkpoints = self.checkpoints()
        return checkpoints[-1] if checkpoints else None

    def policy_path(self) -> Path | None:
        """Where the policy is: the best on validation problems, else the last, if any."""
        last = self.latest_checkpoint()
        if self.best_path.is_dir():
            return self.best_path
        return None if last is None else last.path

    def _commit(self, tmp_dir: Path, path: Path) -> Path:
        open_to_others(tmp_dir)
        for file in tmp_dir.rglob("*"):
            if file.is_file():
                sync(file)
        if path.exists():
            self._drop_checkpoint(path)
        tmp_dir.rename(path)
        sync(self.checkpoints_path)
        return path

    def _drop_checkpoint(self, path: Path) -> None:
        # Renamed first: half a checkpoint must never bear a checkpoint's name.
        doomed = path.with_name(f"tmp-old-{path.name}")
        path.rename(doomed)
        shutil.rmtree(doomed)


def this_machine() -> str:
    """Its name, which the lock of a run has for readers on other machines."""
    return os.uname().nodename


def check_free_folder(path: Path) -> None:
    """Raises RunError unless a folder can be made there, or is there with nothing in it."""
    allowed = "allowed: a new or an empty folder"
    try:
        names = [name for name in os.listdir(path) if not name.startswith(".")]
    except NotADirectoryError:
        raise RunError(f"{path} is a file, or stands in one; {allowed}") from None
    except FileNotFoundError:
        if path.is_symlink():
            raise RunError(f"{path} is a link to nothing; {allowed}") from None
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            raise RunError(f"{path}: {parent} is not writable; {allowed}") from None
        return
    if names:
        raise RunError(f"{path} is in use; {allowed}")
    if not os.access(path, os.W_OK | os.X_OK):
        raise RunError(f"{path} is not writable; {allowed}")
