"""New files that the user names: refused before the work where something stands, written whole."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

_STREAMS = {"/dev/stdout": "stdout", "/dev/stderr": "stderr"}


def check_new_file(path: Path) -> None:
    """Makes sure that a new file can be written; devices such as ``/dev/null`` will do.

    Raises:
        BadParameter: Something stands there, whatever link or spelling leads to it, or its folder
            is missing.
        OSError: The file cannot be made; it names the path.
    """
    if _is_device(path):
        return
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder; allowed: a file in an existing folder")
    if os.path.lexists(path):
        raise typer.BadParameter(f"{path} exists; allowed: a new file")
    if not path.parent.is_dir():
        raise typer.BadParameter(
            f"{path}: there is no folder {path.parent}; allowed: a file in an existing folder"
        )
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    path.unlink()


def check_new_files(*paths: Path | None) -> None:
    """``check_new_file`` for those that are given, which must differ."""
    seen: set[Path] = set()
    for path in paths:
        if path is None or _is_device(path):
            continue
        check_new_file(path)
        if path.resolve() in seen:
            raise typer.BadParameter(f"{path} is given twice; allowed: a file for each")
        seen.add(path.resolve())


def write_new_file(path: Path, text: str) -> None:
    """Writes a file that does not exist: whole, or not at all.

    Raises:
        OSError: It cannot be written; it names the path.
        RuntimeError: Something has come to stand there meanwhile.
    """
    if str(path) in _STREAMS:
        stream = getattr(sys, _STREAMS[str(path)])
        stream.write(text)
        stream.flush()
    elif _is_device(path):
        path.write_text(text, encoding="utf-8")
    else:
        with new_file(path) as draft:
            draft.write_text(text, encoding="utf-8")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Gives a draft beside the path to write to, which then gets its name, never that of another.

    Raises:
        OSError: It cannot be written; it names the path.
        RuntimeError: Something has come to stand there meanwhile.
    """
    draft = path.with_name(f".rlef-{os.getpid()}.tmp")
    try:
        yield draft
        _publish(draft, path)
        draft.unlink(missing_ok=True)
    except FileExistsError:
        raise RuntimeError(
            f"{path} has been made by another program meanwhile and is left as it is; "
            f"what should stand there is in {draft}"
        ) from None
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _publish(draft: Path, path: Path) -> None:
    """Renames a file unless the name is taken: FileExistsError."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(str(path)) from None
        draft.rename(path)


def _is_device(path: Path) -> bool:
    if str(path) in _STREAMS:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
