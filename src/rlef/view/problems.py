"""Statements and public tests of the problems that runs are on.

A run stores neither. They come from the generated set that ships with rlef, or from the files that
the run's settings name, if these still lie there and are what they were when it began: by
``inputs.jsonl`` in the run, and in evaluations by the hash that stands beside each episode.
Private tests are let go as the files are read.
"""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rlef import __version__
from rlef.environment.templates import Prompts, default_prompts
from rlef.problems import ProblemError
from rlef.problems.load import MINI_SPLITS, load_public_problems, local_files
from rlef.problems.reference import Reference
from rlef.problems.types import PublicProblem, Test
from rlef.run import RunDamagedError
from rlef.run.files import Record
from rlef.run.inputs import is_unchanged
from rlef.stored import is_evaluation
from rlef.view.cache import Cache
from rlef.view.runs import Run

_KEPT = 8
"""Problem sets in memory."""
_LARGE = 2**26
"""Bytes of files that take more than some seconds to read."""


class Known(NamedTuple):
    """A problem, or one line on why it is not known."""

    problem: PublicProblem | None
    why: str | None


class _Entry(NamedTuple):
    problem: PublicProblem
    hash: str


class _Source(NamedTuple):
    """Problems as a specification names them, and the files that they are made of."""

    spec: str
    files: tuple[tuple[str, int, int], ...]


class _Book:
    """The problems of a source; read in a thread of its own."""

    def __init__(self) -> None:
        self.is_read = threading.Event()
        self.entries: Mapping[str, _Entry] = {}
        self.error: str | None = None


class ProblemBook:
    """Problems by their names.

    Args:
        cache: Folder of the cache: making problems may take long; ``None``: they are not kept.
        patience_s: How long an answer waits for problems that are being read; ``None``: as long as
            a reader would, less for those of large files.
    """

    def __init__(self, cache: Path | None, patience_s: float | None = None) -> None:
        self._cache = Cache(cache, Path("problems"))
        self._patience_s = patience_s
        self._books: dict[_Source, _Book] = {}
        self._checked: dict[tuple[Path, _Source], str | None] = {}
        self._lock = threading.Lock()

    def prepare(self, run: Run) -> None:
        """Begins to read the problems of a run, so that its first episode has them at once."""
        for spec in {_spec(run, stage) for stage in run.stage_names()}:
            source = _source(spec)
            if source is not None:
                self._book(source)

    def find(self, run: Run, stage: str, record: Record) -> Known:
        """The problem of an episode.

        Args:
            run: The run.
            stage: A stage of it.
            record: The episode.
        """
        spec = _spec(run, stage)
        source = _source(spec)
        if source is None:
            return Known(None, _not_here(spec))
        known_hash = record.get("problem_hash")
        if source.files and known_hash is None and (why := self._check(run, source)) is not None:
            return Known(None, why)
        book = self._book(source)
        is_large = sum(size for _, size, _ in source.files) > _LARGE
        patience_s = (1.0 if is_large else 10.0) if self._patience_s is None else self._patience_s
        if not book.is_read.wait(patience_s):
            return Known(None, f"{source.spec} is being read; open the episode again in a while")
        if book.error is not None:
            return Known(None, book.error)
        entry = book.entries.get(record["problem"])
        if entry is None:
            return Known(None, f"{source.spec} has no problem of this name")
        if known_hash not in (None, entry.hash):
            return Known(None, f"the problem in {source.spec} is not what it was for this episode")
        return Known(entry.problem, None)

    def prompts(self, run: Run) -> Prompts:
        """The templates that a run's messages were made with, as far as they ship with rlef."""
        options = run.options()
        rollout = options.get("rollout")
        name = rollout.get("prompts") if isinstance(rollout, dict) else options.get("prompts")
        try:
            is_shipped = isinstance(name, str) and not name.endswith(".txt")
            return Prompts.load(name) if is_shipped and name else default_prompts()
        except ValueError:
            return default_prompts()

    def _check(self, run: Run, source: _Source) -> str | None:
        """Why the files of a source cannot be taken for those that a run began with, if so."""
        key = (run.path, source)
        if key not in self._checked:
            self._checked[key] = _difference(run, source)
        return self._checked[key]

    def _book(self, source: _Source) -> _Book:
        with self._lock:
            book = self._books.get(source)
            if book is None:
                book = self._books[source] = _Book()
                while len(self._books) > _KEPT:
                    self._books.pop(next(iter(self._books)))
                threading.Thread(target=self._read, args=(source, book), daemon=True).start()
            return book

    def _read(self, source: _Source, book: _Book) -> None:
        try:
            key = hashlib.sha256(source.spec.encode("utf-8", "replace")).hexdigest()
            name = f"problems-{key[:24]}"
            made_of = [__version__, source.spec, *source.files]
            table = self._cache.load(name, made_of)
            if table is None:
                table = _table(load_public_problems(source.spec, run=_no_programs))
                self._cache.save(name, made_of, table)
            book.entries = _entries(table)
        except ProblemError as error:
            book.error = " ".join(str(error).split())
        except Exception as error:  # whatever a file holds, the episode is shown without it
            book.error = f"{source.spec} cannot be read ({type(error).__name__})"
        finally:
            book.is_read.set()


def _table(problems: Sequence[tuple[PublicProblem, str]]) -> pa.Table:
    texts = [json.dumps(asdict(problem)) for problem, _ in problems]
    return pa.table(
        {"problem": pa.array(texts, pa.large_string()), "hash": [each for _, each in problems]}
    )


def _entries(table: pa.Table) -> Mapping[str, _Entry]:
    found = {}
    for text, known_hash in zip(*(column.to_pylist() for column in table.columns), strict=True):
        values = json.loads(text)
        tests = tuple(Test(**test) for test in values.pop("public_tests"))
        found[values["name"]] = _Entry(PublicProblem(**values, public_tests=tests), known_hash)
    return found


def _no_programs(references: Sequence[Reference], _: Any) -> list[list[Any] | None]:
    """Stands for running a data set's own programs, which a viewer does not."""
    if references:
        place = references[0].record.place
        raise ProblemError(f"{place}: what is expected there is known only by running programs")
    return []


def _spec(run: Run, stage: str) -> str | None:
    """The specification of a stage's problems."""
    options = run.options()
    spec = options.get("data")
    if not is_evaluation(options):
        key = "train" if stage == "train" else "valid" if stage.startswith("valid-") else "test"
        spec = spec.get(key) if isinstance(spec, dict) else None
    return spec if isinstance(spec, str) else None


def _source(spec: str | None) -> _Source | None:
    """What a specification names, if that is on this machine."""
    if spec is None or "\0" in spec:
        return None
    if spec.startswith("mini:"):
        is_known = spec.removeprefix("mini:").partition("?")[0] in MINI_SPLITS
        return _Source(spec, ()) if is_known else None
    try:
        found = [(str(path), path.stat()) for path in local_files(spec)]
    except OSError:
        return None
    if not found:
        return None
    return _Source(spec, tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in found))


def _not_here(spec: str | None) -> str:
    if spec is None:
        return "the run's settings name no problems"
    return f"{spec} is not on this machine, or not at this path"


def _difference(run: Run, source: _Source) -> str | None:
    try:
        notes = {str(note.get("path")): note for note in run.inputs()}
        for name, *_ in source.files:
            if name not in notes:
                return f"the run has not noted what {name} was when it began"
            if not is_unchanged(Path(name), notes[name]):
                return f"{name} is not what it was when the run began"
    except (OSError, RunDamagedError) as error:
        return " ".join(str(error).split())
    return None
