"""The built front end in the package is that of the sources in ``viewer/``."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

import rlef.view

STATIC = Path(rlef.view.__file__).parent / "static"
VIEWER = Path(__file__).parents[2] / "viewer"
FOLDERS = ("src", "public", "scripts")
FILES = ("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")


def digest(root: Path, paths: Iterable[str]) -> str:
    """As ``viewer/scripts/manifest.mjs`` works it out."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(path.encode() + b"\0" + (root / path).read_bytes() + b"\0")
    return total.hexdigest()


def below(root: Path, folder: Path) -> list[str]:
    found = (Path(at) / name for at, _, names in os.walk(folder) for name in names)
    return [path.relative_to(root).as_posix() for path in found]


def test_built_files_are_those_of_the_sources() -> None:
    manifest = json.loads((STATIC / "manifest.json").read_bytes())
    built = [path for path in below(STATIC, STATIC) if path != "manifest.json"]
    assert digest(STATIC, built) == manifest["built"], "a built file was changed by hand"
    if not VIEWER.is_dir():
        pytest.skip("no viewer/: not a checkout of the repository")
    sources = [path for folder in FOLDERS for path in below(VIEWER, VIEWER / folder)]
    assert digest(VIEWER, [*sources, *FILES]) == manifest["sources"], (
        "viewer/ was changed since it was built: npm ci && npm run build in viewer/"
    )


def test_the_page_is_small_and_needs_nothing_from_outside() -> None:
    paths = [STATIC / name for name in below(STATIC, STATIC)]
    assert sum(path.stat().st_size for path in paths) < 600_000
    page = (STATIC / "index.html").read_text()
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(loaded) == 4
    for link in loaded:
        assert (STATIC / link).is_file(), link
    # the content security policy allows neither scripts nor styles in the page
    assert "<style" not in page and not re.search(r"<script[^>]*>[^<]", page)


def test_the_lock_file_names_no_registry() -> None:
    lock = VIEWER / "package-lock.json"
    if not lock.is_file():
        pytest.skip("no viewer/: not a checkout of the repository")
    packages = json.loads(lock.read_bytes())["packages"]
    assert packages and all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for name, package in packages.items() if name)
