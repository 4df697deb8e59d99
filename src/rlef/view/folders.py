"""The folders that are shown: what runs stand in them, and nothing beside them.

A run's id is the name of its folder of those given, and the way from there. It is checked whenever
it comes back: links and ``..`` never lead out.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from rlef.view.errors import missing

Kind = Literal["run", "study"]
_DEPTH = 6
"""How far below a given folder runs are looked for."""
_INSIDE = {"checkpoints", "rollouts", "figures", "node_modules", "__pycache__"}
"""Folders of a run or a project that hold no runs."""


class Found(NamedTuple):
    """A folder of a run or a study."""

    id: str
    path: Path
    kind: Kind


class Folders:
    """The folders that are shown.

    Args:
        paths: Existing folders: runs, or folders with runs somewhere in them.
        links: Whether links in runs may lead elsewhere.
    """

    def __init__(self, paths: Sequence[Path], *, links: bool = False) -> None:
        self._links = links
        self._roots: dict[str, Path] = {}
        for path in dict.fromkeys(path.resolve() for path in paths):
            name, count = path.name or "root", 1
            while name in self._roots:
                count += 1
                name = f"{path.name}-{count}"
            self._roots[name] = path

    def all(self) -> list[Found]:
        """Every run and study, in order of their ids. What cannot be opened is left out."""
        return sorted(
            Found(_id(name, root, path), path, kind)
            for name, root in self._roots.items()
            for path, kind in _walk(root, _DEPTH)
        )

    def find(self, run_id: str) -> Found:
        """The run or study of an id.

        Raises:
            ViewError: There is none in these folders.
        """
        label, _, way = run_id.partition("/")
        name = os.fsdecode(unquote_to_bytes(label))
        root, inside = self._roots.get(name), os.fsdecode(unquote_to_bytes(way))
        parts = inside.split("/") if inside else []
        if root is None or "\0" in inside or any(part in ("", ".", "..") for part in parts):
            raise missing("such run")
        path = root.joinpath(*parts)
        kind = _kind(path) if is_within(path, root) else None
        if kind is None:
            raise missing("such run")
        return Found(_id(name, root, path), path, kind)

    def holds(self, path: Path) -> bool:
        """Whether a path stands in one of these folders, wherever its links lead."""
        return self._links or any(is_within(path, root) for root in self._roots.values())

    def ids(self) -> list[str]:
        """The ids that the given folders have, for those that are runs or studies."""
        return [_id(name, root, root) for name, root in self._roots.items()]


def is_within(path: Path, root: Path) -> bool:
    """Whether a path, links followed, is a folder or something in it."""
    try:
        return path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # not there, or a circle of links
        return False


def _id(name: str, root: Path, path: Path) -> str:
    way = path.relative_to(root)
    parts = [name, *way.parts]
    return "/".join(quote(os.fsencode(part), safe="") for part in parts)


def _kind(path: Path) -> Kind | None:
    if _is_plain_file(path / "config.yaml"):
        return "run"
    return "study" if _is_plain_file(path / "study.json") else None


def _is_plain_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _walk(folder: Path, depth: int) -> Iterator[tuple[Path, Kind]]:
    """Yields what is in a folder; links are not followed."""
    kind = _kind(folder)
    if kind is not None:
        yield folder, kind
    if kind == "run" or not depth:
        return
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if entry.name not in _INSIDE
                and not entry.name.startswith(".")
                and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return
    for name in sorted(names):
        yield from _walk(folder / name, depth - 1)
