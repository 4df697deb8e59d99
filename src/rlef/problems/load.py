"""From a specification such as ``"codecontests:data.jsonl"`` to a list of problems."""

import difflib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from urllib.parse import parse_qsl

from rlef.problems.apps import apps_problems, taco_problems
from rlef.problems.codecontests import codecontests_problems
from rlef.problems.codecontestsplus import SIZES, codecontestsplus_problems
from rlef.problems.errors import ProblemError
from rlef.problems.evalplus import humanevalplus_problems, mbppplus_problems
from rlef.problems.files import (
    SUFFIXES,
    canonical_split,
    in_order,
    read_file,
    read_files,
    read_folder,
)
from rlef.problems.hashing import problem_hash
from rlef.problems.hub import HubSet, hub_split, read_any, read_hub
from rlef.problems.humaneval import humaneval_problems
from rlef.problems.integers import long_integers
from rlef.problems.jsonl import jsonl_problems
from rlef.problems.livecodebench import RELEASES, livecodebench_problems
from rlef.problems.mbpp import mbpp_problems, mbpp_splits
from rlef.problems.odd import OddRows
from rlef.problems.options import Options
from rlef.problems.records import Record, unique_problems
from rlef.problems.reference import RunReferences, run_in_sandbox
from rlef.problems.types import Problem, PublicProblem

_log = logging.getLogger("rlef.problems")
MINI_SPLITS = ("train", "valid", "dev", "test")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_Rows = Iterator[Record]
_Made = Iterator[tuple[Record, Problem]]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set that ``load_problems`` knows."""

    problems: Callable[[_Rows, Options], _Made]
    """Makes problems of rows, wherever they are from."""
    hub: Callable[[Options], HubSet] | None = None
    """Where it lies on the Hub."""
    options: tuple[str, ...] = ()
    """Options of its own."""
    splits: Callable[[Options], tuple[str | None, ...]] | None = None
    """Where one file holds all splits: those that hold what is asked for, for it may be a part."""
    untested: str = "error"
    """What becomes of a problem without any test: ``error`` or ``skip``."""
    rename: bool = True
    """Whether the second problem of a name gets another one; else it is an error."""


def _files(name: str, **files: str) -> Callable[[Options], HubSet]:
    return lambda options: HubSet(name, {split: (files[split],) for split in files})


def _mbpp_hub(options: Options) -> HubSet:
    form = options.one_of("form", ("full", "sanitized"), "full")
    files = {"train": "train", "valid": "validation", "test": "test", "prompt": "prompt"}
    return HubSet(
        "google-research-datasets/mbpp",
        {split: (f"{form}/{name}-*.parquet",) for split, name in files.items()},
    )


def _plus_hub(options: Options) -> HubSet:
    size = options.one_of("size", SIZES, SIZES[0])
    return HubSet("ByteDance-Seed/Code-Contests-Plus", {"train": (f"ccplus_{size}/*.parquet",)})


def _livecodebench_hub(options: Options) -> HubSet:
    last = RELEASES.index(options.one_of("release", RELEASES, RELEASES[-1])) + 1
    files = ("test.jsonl", *(f"test{number}.jsonl" for number in range(2, last + 1)))
    return HubSet("livecodebench/code_generation_lite", {"test": files})


DATA_SETS = {
    "codecontests": DataSet(
        codecontests_problems,
        _files(
            "deepmind/code_contests",
            train="data/train-*.parquet",
            valid="data/valid-*.parquet",
            test="data/test-*.parquet",
        ),
        options=("solutions",),
    ),
    "codecontestsplus": DataSet(
        codecontestsplus_problems, _plus_hub, options=("solutions", "size"), untested="skip"
    ),
    "taco": DataSet(
        taco_problems,
        _files("BAAI/TACO", train="ALL/train-*.parquet", test="ALL/test-*.parquet"),
        options=("public", "solutions"),
        untested="skip",
    ),
    "apps": DataSet(
        apps_problems,
        _files("codeparrot/apps", train="train.jsonl", test="test.jsonl"),
        options=("public", "solutions"),
        untested="skip",
    ),
    "livecodebench": DataSet(livecodebench_problems, _livecodebench_hub, options=("release",)),
    "mbpp": DataSet(mbpp_problems, _mbpp_hub, options=("form",), splits=mbpp_splits),
    "mbppplus": DataSet(mbppplus_problems, _files("evalplus/mbppplus", test="data/test-*.parquet")),
    "humaneval": DataSet(
        humaneval_problems,
        _files("openai/openai_humaneval", test="openai_humaneval/test-*.parquet"),
    ),
    "humanevalplus": DataSet(
        humanevalplus_problems, _files("evalplus/humanevalplus", test="data/test-*.parquet")
    ),
    "jsonl": DataSet(jsonl_problems, rename=False),
}
SCHEMES = (*(f"{name}:PATH[:SPLIT]" for name in DATA_SETS), "mini:train|valid|dev|test")


def load_problems(spec: str, *, run: RunReferences = run_in_sandbox) -> list[Problem]:
    """Loads the problems that a specification names.

    Example:
        ``load_problems("mbpp:mbpp.jsonl:test?first=100")``

    Args:
        spec: ``SET:PATH[:SPLIT][?OPTION=VALUE&…]``, where PATH is a file (``.jsonl``,
            ``.jsonl.gz``, ``.json``, ``.parquet``), a folder of them, ``hub`` or the id of a data
            set on the Hugging Face hub; or ``mini:SPLIT``, the generated problems that come with
            rlef. The sets, their splits and options: ``docs/data.md``.
        run: Runs the set's own solutions, where what they return is what is expected.

    Raises:
        ProblemError: The specification or the data are wrong; one line says where and what.
    """
    return _load(spec, run, lambda problem: problem)


def load_public_problems(spec: str, *, run: RunReferences) -> list[tuple[PublicProblem, str]]:
    """What prompts may be made of, of each problem, and its ``problem_hash``.

    Private tests are let go row by row, so this takes a part of the memory of ``load_problems``.

    Args:
        spec: As there.
        run: As there.

    Raises:
        ProblemError: As there.
    """
    found = []
    for problem in _load(spec, run, _Lean.of):
        lean = problem if isinstance(problem, _Lean) else _Lean.of(problem)
        found.append((lean.public, lean.hash))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lean(Problem):
    """A problem without what no prompt is made of; a test stays, since each must have one."""

    hash: str

    @classmethod
    def of(cls, problem: Problem) -> "_Lean":
        values = {each.name: getattr(problem, each.name) for each in fields(problem)}
        for name in ("solutions", "incorrect_solutions", "cpp_solutions"):
            values[name] = ()
        values |= {"incorrect_cpp_solutions": (), "private_tests": problem.private_tests[:1]}
        return cls(**values, hash=problem_hash(problem))


def _load(spec: str, run: RunReferences, keep: Callable[[Problem], Problem]) -> list[Problem]:
    scheme, _, rest = spec.partition(":")
    if scheme == "mini":
        return _mini(spec, rest)
    data, place, options = _asked(spec)
    options = replace(options, run=run)
    checker = options.values.get("checker")
    rows = data.problems(_rows(data, place, options), options)
    made: _Made = ((row, keep(_with_checker(problem, checker))) for row, problem in rows)
    if options.values.get("untested", data.untested) == "skip":
        made = _with_tests(made, spec)
    with long_integers():
        where = ":".join(filter(None, (place, options.split)))
        problems = unique_problems(made, where, options.odd, rename=data.rename)
    if options.odd.errors:
        _log.warning("%s: %s", spec, options.odd.summary())
    return options.select(problems)


def check_words(spec: str) -> None:
    """Looks at a specification without reading anything.

    Raises:
        ProblemError: It names no set, or an option or a split of the Hub that there is not.
    """
    scheme, _, rest = spec.partition(":")
    if scheme == "mini":
        _mini_options(spec, rest)
        return
    data, place, options = _asked(spec)
    hub = None if data.hub is None else data.hub(options)
    if hub is not None and place in ("hub", hub.name) and not Path(place).exists():
        for split in _splits(data, options):
            hub_split(hub, split)


def _asked(spec: str) -> tuple[DataSet, str, Options]:
    """What a specification of another set than ``mini`` names: the set, its place, the options."""
    scheme, _, rest = spec.partition(":")
    if scheme not in DATA_SETS:
        near = difflib.get_close_matches(scheme, [*DATA_SETS, "mini"], n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ProblemError(
            f"unknown data set {scheme!r} in {spec!r}{hint}; allowed: {', '.join(SCHEMES)}"
        )
    data = DATA_SETS[scheme]
    where, query = _without_query(rest)
    place, split = _without_split(where)
    if not place:
        allowed = ", ".join(name for name in SCHEMES if name.startswith(f"{scheme}:"))
        raise ProblemError(f"no path in {spec!r}; allowed: {allowed}")
    options = _options(spec, query, split)
    options.check(data.options)
    if data.hub is not None:
        data.hub(options)  # the values of its options are looked at there
    elif place == "hub" and not Path(place).exists():
        raise options.error("is not on the Hub; name a file or folder")
    return data, place, options


def _options(spec: str, query: str, split: str | None) -> Options:
    pairs = parse_qsl(query, keep_blank_values=True)
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(name for name in values if [n for n, _ in pairs].count(name) > 1)
        raise ProblemError(f"{spec}: option {twice!r} stands twice")
    return Options(spec, values, split, OddRows(skip=values.get("broken") == "skip"))


def _mini_options(spec: str, rest: str) -> Options:
    split, _, query = rest.partition("?")
    if split not in MINI_SPLITS:
        allowed = ", ".join(MINI_SPLITS)
        raise ProblemError(f"unknown split {split!r} in {spec!r}; allowed: {allowed}")
    options = _options(spec, query, split)
    options.check(())
    return options


def _mini(spec: str, rest: str) -> list[Problem]:
    options = _mini_options(spec, rest)
    from rlef.problems.mini import load_split  # generates: only for those who ask

    checker = options.values.get("checker")
    return options.select(
        [_with_checker(problem, checker) for problem in load_split(str(options.split))]
    )


def absolute_spec(spec: str) -> str:
    """Returns a specification that means the same from any folder.

    The path of a file or folder that exists becomes absolute; all else stays as it is.
    """
    place = local_path(spec)
    if place is None:
        return spec
    scheme, _, rest = spec.partition(":")
    return f"{scheme}:{place.absolute()}{rest[len(_place(rest)) :]}"


def local_path(spec: str) -> Path | None:
    """Returns the file or folder that a specification names, if it is on this disk."""
    scheme, mark, rest = spec.partition(":")
    place = _place(rest)
    if scheme not in DATA_SETS or not mark or place in ("", "hub") or not Path(place).exists():
        return None
    return Path(place)


def local_files(spec: str) -> list[Path]:
    """Returns the data files on this disk that a specification names, by absolute paths."""
    place = local_path(spec)
    if place is None:
        return []
    some = place.rglob("*") if place.is_dir() else (place,)
    return sorted(p.absolute() for p in some if p.name.endswith(SUFFIXES) and p.is_file())


def _place(rest: str) -> str:
    return _without_split(_without_query(rest)[0])[0]


def _without_query(rest: str) -> tuple[str, str]:
    path, mark, query = rest.rpartition("?")
    return (path, query) if mark and not Path(rest).exists() else (rest, "")


def _without_split(where: str) -> tuple[str, str | None]:
    """The place and the split. What follows the last colon of a path that exists is part of it."""
    place, mark, split = where.rpartition(":")
    if not mark or Path(where).exists():
        return where, None
    known = Path(place).exists() or place == "hub" or _HUB_NAME.fullmatch(place)
    return (place, split) if place and known else (where, None)


def _rows(data: DataSet, place: str, options: Options) -> _Rows:
    path, split = Path(place), options.split
    if not path.is_dir() and (path.exists() or not (place == "hub" or _is_hub_name(place))):
        if split is not None and data.splits is None:
            raise ProblemError(f"{path}: is one file without splits; leave out :{split}")
        yield from read_file(path, options.odd)
        return
    for name in _splits(data, options):
        yield from _rows_of_split(data, place, options, name)


def _splits(data: DataSet, options: Options) -> tuple[str | None, ...]:
    return (options.split,) if data.splits is None else data.splits(options)


def _rows_of_split(data: DataSet, place: str, options: Options, split: str | None) -> _Rows:
    path = Path(place)
    if path.is_dir():
        files = [] if data.hub is None else _cloned(data, options, path, split)
        yield from read_files(files, options.odd)
        if not files:
            yield from read_folder(path, split, options.odd)
    elif data.hub is not None and place in ("hub", data.hub(options).name):
        yield from read_hub(data.hub(options), split)
    else:
        yield from read_any(place, split)


def _cloned(data: DataSet, options: Options, folder: Path, split: str | None) -> list[Path]:
    """The files of a split in a clone of the Hub's repository, where other folders hold others.

    Raises:
        ProblemError: An option asks for a folder that is not there.
    """
    assert data.hub is not None
    hub = data.hub(options)
    name = next(iter(hub.files)) if split is None and len(hub.files) == 1 else split
    patterns = [p for p in hub.files.get(canonical_split(name or ""), ()) if "/" in p]
    found = [path for pattern in patterns for path in in_order(folder.glob(pattern))]
    for word in ("size", "form"):
        if word in options.values and not found:
            raise options.error(f"{folder} has no file {' or '.join(patterns)}")
    return found


def _is_hub_name(place: str) -> bool:
    return _HUB_NAME.fullmatch(place) is not None and not place.endswith(SUFFIXES)


def _with_tests(made: _Made, spec: str) -> _Made:
    """Leaves out problems without any test, and says how many."""
    count = 0
    for record, problem in made:
        if problem.all_tests:
            yield record, problem
        else:
            count += 1
    if count:
        _log.warning("%s: left out %d problems that have no tests", spec, count)


def _with_checker(problem: Problem, checker: str | None) -> Problem:
    """The problem with another checker for what is printed, if the specification names one."""
    if checker is None or problem.mode != "stdin":
        return problem
    return replace(problem, checker=checker, checker_source=None)
