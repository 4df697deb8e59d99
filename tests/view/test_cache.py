"""Tables that are kept, or not where they cannot be."""

import os
from pathlib import Path

import pyarrow as pa

from rlef.view.cache import Cache

TABLE = pa.table({"n": [1, 2]})


def test_a_table_is_kept_for_what_it_was_made_of(tmp_path: Path) -> None:
    cache = Cache(tmp_path, tmp_path / "file")
    assert cache.save("a", [1], TABLE).equals(TABLE)
    found = cache.load("a", [1])
    assert found is not None and found.equals(TABLE)
    assert cache.load("a", [2]) is None


def test_a_folder_whose_name_is_not_utf8_keeps_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path / os.fsdecode(b"\xff"), tmp_path)
    assert cache.save("a", [1], TABLE).equals(TABLE)
    assert cache.load("a", [1]) is None
