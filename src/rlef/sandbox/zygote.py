"""The zygote of a jail: reads requests, forks one process per test, watches it, answers.

A script for a bare interpreter (``python -P -s -S -B``), started by ``jail.py``. ``namespaces.py``
sets the process apart, ``spawn.py`` starts a child, ``child.py`` makes it a program, ``watch.py``
watches it, ``program.py`` is a Python program's life in it. Expected outputs never come here.

Datagrams on the control socket: ``P`` and JSON load a program; descriptors come along, first the
slots of files that its tests use (stdin, stdout, stderr, result), then its text or binary, then
files of a tool. ``T`` and the number of a slot run it on one test; the answer is ``structs.ANSWER``
with the files that a tool wrote. A slot's files are new for each program, and emptied for each
test.
"""

import _signal as signal  # type: ignore[import-not-found]  # signal costs each child 0.9 MB
import contextlib
import ctypes
import errno
import fcntl
import gc
import json
import os
import random
import resource
import struct
import sys
import types
from _socket import CMSG_LEN, socket
from typing import Any

if __name__ == "__main__":  # hollow packages: the real ones would bring the trusted side along
    for _name in ("rlef", "rlef.sandbox"):
        sys.modules[_name] = types.ModuleType(_name)
        sys.modules[_name].__path__ = [os.path.dirname(__file__)]

from rlef.sandbox import (
    child,
    ending,
    landlock,
    namespaces,
    program,
    seccomp,
    spawn,
    structs,
    watch,
)

USUAL_MODULES = (
    "array bisect collections copy datetime decimal fractions functools heapq io itertools "
    "operator re string typing"
)
PROCESSES = {"program": 40, "tools": 64}
OTHERS = 4000
"""Threads more where the user's own count too: without a user namespace of the jail's own."""
HEADROOM_BYTES = 8 << 20
MAX_FDS = 32
BOX = namespaces.BOX
PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Errors that say that the machine is short of something now, not that it refuses a jail."""


class Loaded:
    """The program that the next tests run. Importing dataclasses would cost each child 1 MB.

    Attributes:
        slots: Descriptors of the tests' files, an array.
        outputs: Files that a tool writes.
        keep: What ``request`` points to.
    """

    def __init__(
        self, kind: str, request: structs.Request, entry_point: str | None, slots: list[int]
    ) -> None:
        self.kind = kind
        self.request = request
        self.entry_point = entry_point
        self.slots = (ctypes.c_int32 * len(slots))(*slots)
        self.source = self.prelude = bytearray()
        self.outputs: tuple[str, ...] = ()
        self.keep: list[object] = []

    def close(self) -> None:
        """Frees its files, and wipes its text: the next program could read what is left of it."""
        for text in (self.source, self.prelude):
            text[:] = bytes(len(text))
        code = self.request.files[structs.CODE_FILE]
        for fd in (*self.slots, code, self.request.binary):
            if fd >= 0:
                os.close(fd)


class Zygote:
    """Loads programs and runs them on tests, one at a time."""

    def __init__(self, settings: dict[str, Any], control: socket) -> None:
        self.control = control
        self.bare = settings["isolation"] != "namespaces"
        self.spawner = spawn.Spawner(settings["native"])
        self.uid = self.proc = self.ruleset = -1
        self.base_bytes = 0
        self.filters: dict[str, ctypes.Array[ctypes.c_char]] = {}
        self.loaded: Loaded | None = None

    def load(self, header: dict[str, Any], fds: list[int]) -> None:
        """Takes over a program; the one before is forgotten."""
        if self.loaded is not None:
            self.loaded.close()
        kind, count = header["kind"], structs.SLOT_FILES * header["slots"]
        request = self.make_request(header)
        loaded = self.loaded = Loaded(kind, request, header["entry_point"], fds[:count])
        del fds[:count]
        if kind == "python":
            loaded.source = read_all(fds.pop(0))
            if header["prelude"]:
                loaded.prelude = read_all(fds.pop(0))
            if header["several"]:
                request.files[structs.CODE_FILE] = memory_file()
        else:
            self.prepare_executable(loaded, header, fds)
        for fd in fds:
            os.close(fd)

    def make_request(self, header: dict[str, Any]) -> structs.Request:
        """The limits of a program, and what this jail gives to every child."""
        memory, binary = header["memory_bytes"], header["kind"] != "python"
        profile = {"python": "program", "tool": "tools"}.get(header["kind"], "program-exec")
        others = OTHERS if self.bare else 0
        request = structs.Request(
            binary=-1,
            proc=self.proc,
            ruleset=self.ruleset,
            uid=self.uid,
            bare=self.bare,
            processes=PROCESSES["tools" if profile == "tools" else "program"] + others,
            pid_placeholder=seccomp.PID_PLACEHOLDER,
            cpu_s=header["cpu_s"],
            idle_s=header["idle_s"],
            wall_s=header["wall_s"],
            memory_bytes=memory + (HEADROOM_BYTES if binary else self.base_bytes),
            stack_bytes=structs.NO_LIMIT if binary else 64 << 20,  # else each thread gets so much
            judged=1 if header["entry_point"] is None else 3,
            output_bytes=header["output_bytes"],
            file_bytes=header["file_bytes"],
        )
        request.files[structs.CODE_FILE] = -1
        if profile in self.filters:
            request.filter = ctypes.addressof(self.filters[profile])
            request.filter_length = len(self.filters[profile]) // 8
        return request

    def prepare_executable(self, loaded: Loaded, header: dict[str, Any], fds: list[int]) -> None:
        """Puts a binary or a tool and its files in place."""
        request = loaded.request
        if header["binary"]:
            request.binary = move_up(fds.pop(0))
        if loaded.kind == "script":
            request.files[structs.CODE_FILE] = move_up(fds.pop(0))
        for name in header["files"]:
            with open(f"{BOX}/{name}", "wb") as file:
                file.write(read_all(fds.pop(0)))
        if loaded.kind == "tool":
            loaded.outputs = tuple(header["outputs"])
            request.folder = BOX.encode()
        arguments = structs.strings([item.encode() for item in header["argv"]])
        names = [b"PATH=/usr/bin:/bin", b"LANG=C.UTF-8", b"TMPDIR=/box", b"ONLINE_JUDGE=1"]
        if header["libraries"] is not None:
            names.append(f"LD_LIBRARY_PATH={header['libraries']}".encode())
        environment = structs.strings(names)
        loaded.keep = [arguments, environment]
        request.argv, request.envp = arguments, environment

    def run_tests(self) -> None:
        """Runs the loaded program until a message comes that is no test."""
        loaded = self.loaded
        assert loaded is not None
        cookie = self.spawner.serve(self.control, loaded.slots, loaded.request)
        if cookie is not None:
            self.become(loaded, cookie)

    def run_tool(self) -> None:
        """Runs the loaded tool once and answers with the files that it wrote."""
        loaded = self.loaded
        assert loaded is not None
        outcome = self.spawner.run(loaded.request, list(loaded.slots))
        assert outcome is not None
        outputs = self.collect(loaded)
        spawn.send_answer(self.control, loaded.request, outcome, "", tuple(outputs))
        for fd in outputs:
            os.close(fd)
        if os.listdir(BOX):
            os._exit(1)  # a folder, which only its owner can empty: a new jail is clean

    def become(self, loaded: Loaded, cookie: str) -> None:
        """The rest of a child's life."""
        shared = loaded.request.files[structs.CODE_FILE] >= 0
        try:
            texts = bytes(loaded.prelude), bytes(loaded.source)
            program.run(*texts, loaded.entry_point, cookie, shared, os._exit)
        finally:
            os._exit(1)

    def collect(self, loaded: Loaded) -> list[int]:
        """Opens the files that a tool wrote, then removes all files in its folder."""
        opened = []
        for name in loaded.outputs:
            with contextlib.suppress(OSError):
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                opened.append(os.open(f"{BOX}/{name}", flags))
        for name in os.listdir(BOX):
            with contextlib.suppress(OSError):
                os.unlink(f"{BOX}/{name}")
        return opened


def receive(control: socket) -> tuple[bytes, list[int]]:
    """Takes a datagram with its descriptors; ends the process when the other side is gone."""
    data, extra, _, _ = control.recvmsg(1 << 16, CMSG_LEN(4 * MAX_FDS))
    if not data:
        os._exit(0)
    fds: list[int] = []
    for _, _, packed in extra:
        fds += struct.unpack(f"{len(packed) // 4}i", packed)
    return data, fds


def read_all(fd: int) -> bytearray:
    """The content of a file, the only copy that there is in memory; closes the descriptor."""
    content = bytearray(os.fstat(fd).st_size)
    at = 0
    while at < len(content) and (count := os.preadv(fd, [memoryview(content)[at:]], at)):
        at += count
    os.close(fd)
    return content


def memory_file() -> int:
    """An anonymous file that can be sealed, out of the way of a child's descriptors."""
    return move_up(os.memfd_create("file", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))


def address_space(proc: int, view: str) -> int:
    """Bytes of virtual memory that this process has now; a guess where there is no /proc."""
    if proc < 0:
        return (1024 if view == "numpy" else 64) << 20
    fd = os.open("self/statm", os.O_RDONLY, dir_fd=proc)
    pages = int(os.read(fd, 64).split()[0])
    os.close(fd)
    return pages * resource.getpagesize()


def move_up(fd: int) -> int:
    """The same file at a descriptor that no child uses."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, structs.FIRST_FREE)
    os.close(fd)
    return moved


def forget_caller() -> None:
    """Undoes what processes inherit and a caller may have chosen: signals ignored or blocked."""
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # Python's own choice
        if signal.getsignal(number) == signal.SIG_IGN:  # SIGCHLD: no child would have a status
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)


def set_apart(zygote: Zygote, settings: dict[str, Any]) -> None:
    """Gives up all that the jail shall not have."""
    if zygote.bare:
        namespaces.call("prctl", namespaces.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        zygote.proc = move_up(os.open("/proc", os.O_RDONLY | os.O_DIRECTORY))
        if settings["isolation"] == "landlock":
            zygote.ruleset = move_up(landlock.create_ruleset(settings["readable"]))
    else:
        view = namespaces.View(settings["view"], settings["packages"])
        zygote.uid, proc = namespaces.isolate(zygote.control.fileno(), view)
        zygote.proc = move_up(proc) if proc >= 0 else -1
    namespaces.call("prctl", namespaces.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    namespaces.call("prctl", namespaces.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    namespaces.call("prctl", namespaces.PR_SET_DUMPABLE, 0, 0, 0, 0)
    if settings["seccomp"]:
        for name in ("program", "program-exec", "tools"):
            code = seccomp.build(name)
            zygote.filters[name] = ctypes.create_string_buffer(code, len(code))


def main(control: socket, settings: dict[str, Any]) -> None:
    """The zygote's life: set up, say hello, run tests until the control socket closes."""
    forget_caller()
    for name in USUAL_MODULES.split():
        __import__(name)
    zygote = Zygote(settings, control)
    zygote.spawner.use_huge_pages()
    try:
        set_apart(zygote, settings)
    except Exception as error:  # whatever it is, the other side shall hear of it
        words = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        passing = isinstance(error, OSError) and error.errno in PASSING
        control.send(json.dumps({"error": words, "passing": passing}).encode())
        os._exit(1)
    if settings["view"] == "numpy":
        here = os.path.dirname(settings["packages"][0]) if zygote.bare else namespaces.PACKAGES
        sys.path.append(here)
        __import__("numpy")
        if zygote.bare:
            sys.path.remove(here)  # other packages may be there
    for name, value in {"CORE": 0, "MEMLOCK": 0, "MSGQUEUE": 0, "NOFILE": 64}.items():
        child.limit(getattr(resource, f"RLIMIT_{name}"), value)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process of a namespace is then immune
    program.warm_up()
    name = program.PROGRAM
    for module in (child, ending, landlock, namespaces, program, seccomp, spawn, structs, watch):
        del sys.modules[module.__name__]
    del sys.modules["rlef"], sys.modules["rlef.sandbox"]
    del os.environ["LD_BIND_NOW"]  # ours alone
    sys.orig_argv[:] = ["python3", name]  # ours names folders of the machine
    random.seed(0)
    gc.collect()
    namespaces.LIBC.malloc_trim(0)  # each page that is there costs every child
    gc.freeze()
    zygote.base_bytes = HEADROOM_BYTES + address_space(zygote.proc, settings["view"])
    control.send(json.dumps({"error": None, "hot_path": zygote.spawner.name}).encode())
    serve(zygote)


def serve(zygote: Zygote) -> None:
    """Answers requests until the other side is gone."""
    while True:
        data, fds = receive(zygote.control)
        if data[:1] == b"P":
            zygote.load(json.loads(data[1:]), fds)
        else:
            zygote.run_tool()
        if zygote.loaded is not None and zygote.loaded.kind != "tool":
            zygote.run_tests()


if __name__ == "__main__":
    for _ in range(structs.FIRST_FREE):  # descriptors below stay taken, so none of ours is there
        os.open("/dev/null", os.O_RDWR)
    fd = fcntl.fcntl(int(sys.argv[1]), fcntl.F_DUPFD_CLOEXEC, structs.FIRST_FREE)
    main(socket(fileno=fd), json.loads(sys.argv[2]))
