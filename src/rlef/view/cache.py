"""What was once worked out of a run's files, in a folder of the user's: never in the run folder.

A run has a folder in it, by its path. Files are Arrow, are mapped into memory rather than read, and
say what they were made of; one that was made of other files is not taken.
"""

import hashlib
import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

_VERSION = 2
"""Of what stands in the files: others are not taken."""
_KEPT_S = 30 * 24 * 3600
_MADE_OF = b"made_of"


def default_folder() -> Path:
    """Where the cache is: ``$XDG_CACHE_HOME/rlef/view``, by default in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "rlef" / "view"


class Cache:
    """Tables of one file or folder.

    Args:
        folder: Of the whole cache; ``None``: nothing is kept.
        of: What the tables are made of.
    """

    def __init__(self, folder: Path | None, of: Path) -> None:
        key = hashlib.sha256(os.fsencode(of)).hexdigest()[:24]
        self._folder = None if folder is None else folder / key
        if self._folder is not None:
            with suppress(OSError):
                os.utime(self._folder)

    def load(self, name: str, made_of: object) -> pa.Table | None:
        """A table, if there is one of this name that was made of the same."""
        if self._folder is None:
            return None
        try:
            with pa.memory_map(str(self._folder / f"{name}.arrow")) as file:
                reader = pa.ipc.open_file(file)
                said = (reader.schema.metadata or {}).get(_MADE_OF, b"")
                return reader.read_all() if said == _described(made_of) else None
        except (OSError, pa.ArrowException, ValueError):
            return None

    def save(self, name: str, made_of: object, table: pa.Table) -> pa.Table:
        """Keeps a table. Returns it as ``load`` does, or as it is where it cannot be written."""
        if self._folder is None:
            return table
        path = self._folder / f"{name}.arrow"
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        schema = table.schema.with_metadata({_MADE_OF: _described(made_of)})
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, schema) as writer:
                writer.write_table(table.combine_chunks().cast(schema))
            temporary.replace(path)
        except (OSError, pa.ArrowException, ValueError):  # or a path that is not UTF-8
            with suppress(OSError):
                temporary.unlink()
            return table
        return self.load(name, made_of) or table


def drop_old(folder: Path) -> None:
    """Removes what has not been used for a month."""
    with suppress(OSError):
        for entry in folder.iterdir():
            if entry.is_dir() and entry.stat().st_mtime < time.time() - _KEPT_S:
                shutil.rmtree(entry, ignore_errors=True)


def _described(made_of: object) -> bytes:
    return json.dumps([_VERSION, made_of]).encode()
