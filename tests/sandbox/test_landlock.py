"""Landlock, in processes of its own."""

import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from rlef.sandbox import landlock

try:
    ABI = landlock.abi()
except OSError as error:
    ABI, REASON = 0, f"this kernel has no Landlock: {error}"
else:
    REASON = ""
live = pytest.mark.skipif(ABI < 1, reason=REASON)

SCRIPT = """
import ctypes, errno, importlib.util, os, signal, socket, sys
spec = importlib.util.spec_from_file_location("landlock", {path!r})
landlock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(landlock)
def refused(call, *arguments, code=errno.EACCES):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno == code, error
    else:
        raise AssertionError(f"{{call}} is allowed")
open_file = open({file!r})
assert landlock.restrict({paths!r}) == {abi}
{body}
print("end")
"""


def restricted(body: str, folder: Path, *more: str) -> None:
    """Runs lines in a process that may read the standard library and what else is named."""
    file = folder / "file"
    file.write_text("text")
    library = {sysconfig.get_paths()["stdlib"], sysconfig.get_paths()["platstdlib"]}
    paths = [path for path in (*library, "/usr/lib", "/usr/lib64") if Path(path).exists()]
    paths += more
    script = SCRIPT.format(path=landlock.__file__, file=str(file), paths=paths, abi=ABI, body=body)
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


@live
def test_files_that_are_not_named_are_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    body = f"""
base = {str(tmp_path)!r}
refused(open, base + "/file")
refused(open, base + "/new", "w")
refused(os.listdir, base)
refused(os.unlink, base + "/file")
refused(os.mkdir, base + "/folder")
refused(os.rmdir, base + "/empty")
refused(os.symlink, "x", base + "/link")
refused(os.rename, base + "/file", base + "/other")
refused(os.execv, "/bin/true", ["true"])
assert open_file.read() == "text"  # what is open stays open
assert "os.py" in os.listdir({sysconfig.get_paths()["stdlib"]!r})
import json, decimal
"""
    restricted(body, tmp_path)
    assert (tmp_path / "file").read_text() == "text"
    assert not (tmp_path / "new").exists()


@live
def test_named_folders_can_be_read_only(tmp_path: Path) -> None:
    body = f"""
base = {str(tmp_path)!r}
assert open(base + "/file").read() == "text" and os.listdir(base) == ["file"]
refused(open, base + "/file", "w")
refused(open, base + "/file", "a")
refused(open, base + "/new", "w")
refused(os.unlink, base + "/file")
if {ABI} >= 3:
    refused(os.truncate, base + "/file", 0)
"""
    restricted(body, tmp_path, str(tmp_path))
    assert (tmp_path / "file").read_text() == "text"


@live
def test_a_named_device_can_be_written(tmp_path: Path) -> None:
    restricted("open('/dev/null', 'w').write('x')", tmp_path, "/dev/null")
    restricted("refused(open, '/dev/null', 'w')", tmp_path)


@live
def test_programs_in_named_folders_can_be_executed(tmp_path: Path) -> None:
    restricted("os.spawnv(os.P_WAIT, '/bin/true', ['true']) and os._exit(1)", tmp_path, "/usr/bin")


@live
@pytest.mark.skipif(ABI < 4, reason="this Landlock knows no network")
def test_no_tcp(tmp_path: Path) -> None:
    body = """
refused(socket.socket().bind, ("127.0.0.1", 0))
refused(socket.socket().connect, ("127.0.0.1", 9))
"""
    restricted(body, tmp_path)


@live
@pytest.mark.skipif(ABI < 6, reason="this Landlock has no scopes")
def test_no_signal_and_no_abstract_socket_to_the_outside(tmp_path: Path) -> None:
    body = """
refused(os.kill, os.getppid(), 0, code=errno.EPERM)
os.kill(os.getpid(), 0)
refused(socket.socket(socket.AF_UNIX).connect, "\\0{name}", code=errno.EPERM)
"""
    name = f"rlef-{tmp_path.name}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        restricted(body.format(name=name), tmp_path)


@live
def test_a_path_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        landlock.create_ruleset([str(tmp_path / "missing")])


def test_rules_are_as_long_as_each_version_knows_them() -> None:
    sizes = {version: len(landlock._handled(version)) for version in range(1, 9)}
    assert sizes == {1: 8, 2: 8, 3: 8, 4: 16, 5: 16, 6: 24, 7: 24, 8: 24}
    files = [int.from_bytes(landlock._handled(version)[:8], "little") for version in range(1, 6)]
    assert files == [0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF]


@pytest.mark.skipif(ABI >= 1, reason="this kernel has Landlock")
def test_without_landlock_there_is_a_clear_error() -> None:
    with pytest.raises(OSError, match="landlock_create_ruleset"):
        landlock.restrict([])
