"""Statements and public tests of the shipped problem set, for runs on it.

Other problem sets lie outside the folders that are shown, or take long to read: of these only what
stands in the run itself is known.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from rlef import __version__
from rlef.environment.templates import Prompts, default_prompts
from rlef.problems.load import MINI_SPLITS
from rlef.problems.types import PublicProblem, Test
from rlef.stored import is_evaluation
from rlef.view.cache import Cache
from rlef.view.runs import Run

Book = Mapping[str, PublicProblem]


class ProblemBook:
    """Problems by their names.

    Args:
        cache: Folder of the cache: making the problems takes some seconds.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = Cache(cache, Path("problems"))
        self._books: dict[str, Book] = {}
        self._lock = threading.Lock()

    def prepare(self, run: Run) -> None:
        """Begins to make the problems of a run, so that its first episode has them at once."""
        specs = {_spec(run, stage) for stage in run.stage_names()}
        for split in {split for spec in specs if (split := _split(spec)) is not None}:
            if split not in self._books:
                threading.Thread(target=self._book, args=(split,), daemon=True).start()

    def find(self, run: Run, stage: str, name: str) -> PublicProblem | None:
        """A problem of a stage; ``None`` where it is not known."""
        split = _split(_spec(run, stage))
        return None if split is None else self._book(split).get(name)

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

    def _book(self, split: str) -> Book:
        with self._lock:
            if split not in self._books:
                self._books[split] = self._cached(split) or self._made(split)
            return self._books[split]

    def _cached(self, split: str) -> Book | None:
        table = self._cache.load(split, __version__)
        if table is None:
            return None
        found = {}
        for text in table["problem"].to_pylist():
            values = json.loads(text)
            tests = tuple(Test(**test) for test in values.pop("public_tests"))
            found[values["name"]] = PublicProblem(**values, public_tests=tests)
        return found

    def _made(self, split: str) -> Book:
        from rlef.problems import load_problems

        found = {problem.name: problem.public for problem in load_problems(f"mini:{split}")}
        texts = [json.dumps(asdict(problem)) for problem in found.values()]
        self._cache.save(split, __version__, pa.table({"problem": texts}))
        return found


def _spec(run: Run, stage: str) -> object:
    """The specification of a stage's problems."""
    options = run.options()
    data = options.get("data")
    if is_evaluation(options):
        return data
    key = "train" if stage == "train" else "valid" if stage.startswith("valid-") else "test"
    return data.get(key) if isinstance(data, dict) else None


def _split(spec: object) -> str | None:
    """The split of the shipped problem set that is meant, if any."""
    if not isinstance(spec, str) or not spec.startswith("mini:"):
        return None
    split = spec.removeprefix("mini:").partition("?")[0]
    return split if split in MINI_SPLITS else None
