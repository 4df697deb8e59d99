"""New files that the user names: refused before the work where something stands, written whole."""

import os
import stat
import sys
import uuid
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
    check_not_a_runs_own(path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    path.unlink()


def check_not_a_runs_own(path: Path) -> None:
    """Raises BadParameter for a place among a run's checkpoints or rollouts.

    What stands there is of the run: it would go on from a model, or take rows for a batch.
    """
    from rlef.run import RunFolder

    there = path.absolute().parent.resolve() / path.name
    for folder in (there, *there.parents):
        run = RunFolder(folder.parent)
        if folder in (run.checkpoints_path, run.rollouts_path) and run.is_run():
            raise typer.BadParameter(
                f"{path} would stand among the {folder.name} of a run; allowed: another place"
            )


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
    if is_stream(path):
        stream = getattr(sys, _STREAMS[str(path)])
        stream.write(text)
        stream.flush()
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
    if _is_device(path):
        yield path
        return
    from rlef.run.files import publish

    draft = path.with_name(f".rlef-{uuid.uuid4().hex}.tmp")
    try:
        yield draft
        publish(draft, path)
    except FileExistsError:
        raise RuntimeError(
            f"{path} has been made by another program meanwhile and is left as it is; "
            f"what should stand there is in {draft}"
        ) from None
    except OSError as error:
        draft.unlink(missing_ok=True)
        reason = error.strerror if error.errno is None else os.strerror(error.errno)
        raise OSError(error.errno, reason, str(path)) from None  # pyarrow says more than that
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def is_stream(path: Path | None) -> bool:
    """Whether it is standard output or standard error, which then has nothing else."""
    return str(path) in _STREAMS


def _is_device(path: Path) -> bool:
    if is_stream(path):
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
