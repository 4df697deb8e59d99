"""Corners of the kernel that an allowed system call still reaches."""

import platform

from hostile.case import AC, CALL, EASY, LOOP, RE, SLEEP, TLE, WA, Hostile, Limits

X86 = platform.machine() == "x86_64"
EXIT = 60 if X86 else 93
CLONE = 56 if X86 else 220
EITHER = ("AC", "RE")
NEIGHBOURS = "out of reach"


def denied(name: str, attack: str, call: str, says: str = "[Errno 1]") -> Hostile:
    return Hostile(name, attack, f"{CALL}{call}\nprint('broke out')\n", "EPERM", RE, says=says)


def prctl(name: str, attack: str, numbers: str) -> Hostile:
    return denied(name, attack, f"if libc.prctl({numbers}) < 0:\n"
                  "    raise OSError(ctypes.get_errno(), 'prctl')")  # fmt: skip


def loop(name: str, attack: str, source: str) -> Hostile:
    return Hostile(name, attack, source, "CPU limit", TLE, limits=LOOP)


LEADER = (
    CALL
    + f"""
import threading
def rest():
    while libc.syscall({39 if X86 else 172}) < 0: pass
    BODY
threading.Thread(target=rest).start()
print('', end='', flush=True)
libc.syscall({EXIT}, 0)
"""
)

CASES = (
    Hostile("leader-gone-answers", "the first thread ends alone, another one answers",
            LEADER.replace("BODY", "time = __import__('time'); time.sleep(0.05); "
                           "os.write(1, b'ok'); os._exit(0)"),
            "the process ends with its last thread", AC, limits=EASY),
    Hostile("leader-gone-loops", "the first thread ends alone, another one loops in C",
            LEADER.replace("BODY", "sum(range(10**13))"), "CPU limit", TLE, limits=LOOP),
    Hostile("leader-gone-sleeps", "the first thread ends alone, another one sleeps",
            LEADER.replace("BODY", "__import__('time').sleep(99)"), "idle limit", TLE,
            limits=SLEEP),
    denied("clone-vm", "a process that shares its memory", f"if call({CLONE}, 0x4111, 0, 0, 0, 0)"
           " == 0: os._exit(0)"),
    denied("clone-parent", "a child of its parent", f"if call({CLONE}, 0x8011, 0, 0, 0, 0) == 0: "
           "os._exit(0)"),
    denied("clone-thread-namespace", "a thread in a new user namespace",
           f"call({CLONE}, 0x10010f00, 0, 0, 0, 0)"),
    prctl("dumpable", "makes itself readable", "4, 1, 0, 0, 0"),
    prctl("timer-slack", "a timer slack of a year", "29, 10**15, 0, 0, 0"),
    prctl("subreaper", "becomes a reaper", "36, 1, 0, 0, 0"),
    prctl("strict-seccomp", "strict mode of the filter", "22, 1, 0, 0, 0"),
    prctl("memory-map", "moves its memory marks", "35, 1, 0, 0, 0"),
    prctl("ptracer", "lets anybody trace it", "0x59616d61, -1, 0, 0, 0"),
    prctl("core-scheduling", "core scheduling with the zygote", "62, 1, 1, 0, 0"),
    prctl("merge", "memory merged with the neighbours'", "67, 1, 0, 0, 0"),
    denied("lock-library", "a lock on the library, for other programs to see",
           "import fcntl\nfcntl.lockf(os.open(os.__file__, 0), fcntl.LOCK_SH)"),
    denied("flock-device", "a lock on /dev/null, for the machine to wait for",
           "import fcntl\nfcntl.flock(os.open('/dev/null', 0), fcntl.LOCK_EX)"),
    denied("lock-wait", "waits for a lock", "import fcntl\nfcntl.lockf(1, fcntl.LOCK_EX)"),
    denied("evict", "throws the library out of the machine's cache",
           "os.posix_fadvise(os.open(os.__file__, 0), 0, 0, os.POSIX_FADV_DONTNEED)"),
    denied("attach-filter", "a program for the kernel, at a socket",
           "import socket\na, b = socket.socketpair()\n"
           "a.setsockopt(1, 26, bytes(16))"),
    denied("pass-credentials", "asks a socket for pidfds",
           "import socket\na, b = socket.socketpair()\na.setsockopt(1, 76, 1)"),
    denied("datagram-pair", "a pair of datagram sockets, which can send anywhere",
           "import socket\nsocket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)"),
    denied("raw-pair", "a pair of another family",
           "import socket\nsocket.socketpair(socket.AF_INET, socket.SOCK_STREAM)", "[Errno"),
    Hostile("forged-credentials", "sends process 1's credentials",
            CALL + "import socket, struct\na, b = socket.socketpair()\n"
            "a.sendmsg([b'x'], [(1, 2, struct.pack('iii', 1, 0, 0))])\nprint('broke out')",
            "EPERM", RE, says="[Errno"),
    Hostile("peer-pidfd", "a pidfd by way of getsockopt, and a signal through it",
            CALL + "import socket, struct\na, b = socket.socketpair()\n"
            "fd = struct.unpack('i', a.getsockopt(1, 77, 4))[0]\ncall(424, fd, 9, 0, 0)\n"
            "print('broke out')", "EPERM for the signal", RE, says="[Errno"),
    Hostile("address-on-pair", "sends to an address by a connected pair",
            "import socket\na, b = socket.socketpair()\na.sendto(b'x', '\\0left')",
            "refused by the kernel", RE, says="[Errno"),
    Hostile("sockets-full", "fills the buffers of thirty pairs of sockets",
            "import socket\nkept = []\nfor _ in range(29):\n    a, b = socket.socketpair()\n"
            "    a.setblocking(False)\n    kept += [a, b]\n    try:\n"
            "        while True: a.send(bytes(65536))\n    except BlockingIOError: pass\n"
            "print('ok')", "freed with the process", AC, limits=EASY),
    Hostile("pipes-full", "fills thirty pipes", "import os\nfor _ in range(29):\n"
            "    r, w = os.pipe()\n    os.set_blocking(w, False)\n    try:\n"
            "        while True: os.write(w, bytes(4096))\n    except BlockingIOError: pass\n"
            "print('ok')", "freed with the process", AC, limits=EASY),
    Hostile("socket-cycle", "sockets that hold each other, a thousand times",
            "import socket\nfor _ in range(1000):\n    a, b = socket.socketpair()\n"
            "    socket.send_fds(a, [b'x'], [a.fileno(), b.fileno(), 1])\n"
            "    a.close(); b.close()\nprint('ok')", "refused while too many are on their way",
            EITHER, limits=EASY),
    Hostile("own-table", "closes its descriptors in a table of its own",
            CALL + "os.write(1, b'ok')\ncall(436, 0, 99, 2)\nos._exit(0)",
            "the answer is there already", AC, limits=EASY),
    Hostile("unmap-all", "unmaps all its memory",
            CALL + "print('ok', flush=True)\n"
            "libc.munmap(ctypes.c_void_p(0x1000), ctypes.c_size_t(0x7ffffffff000 - 0x1000))",
            "died of SIGSEGV", RE),
    Hostile("robust-list", "a list of locks for the kernel to walk at its end, in a circle",
            CALL + "b = (ctypes.c_long * 3)()\nb[0] = ctypes.addressof(b)\n"
            f"call({273 if X86 else 99}, b, 24)\nprint('ok')", "the kernel's walk has an end",
            EITHER, limits=EASY),
    Hostile("robust-list-wild", "the same with wild addresses",
            CALL + "b = (ctypes.c_long * 3)(0x4711, 0x7fffffffffff, 0xffff << 44)\n"
            f"call({273 if X86 else 99}, b, 24)\nprint('ok')", "harms only itself", EITHER,
            limits=EASY),
    Hostile("clear-tid", "lets the kernel write to its code when it ends",
            CALL + f"call({218 if X86 else 96}, ctypes.c_void_p(id(print)))\nprint('ok')",
            "harms only itself", EITHER, limits=EASY),
    Hostile("thread-pointer", "a wild thread pointer",
            CALL + ("call(158, 0x1002, 0x4711)" if X86 else "ctypes.string_at(0)"),
            "died of a signal", RE),
    Hostile("alternate-stack", "a signal on a stack that is not there",
            CALL + "import signal\nb = (ctypes.c_long * 3)(0x4711 << 12, 0, 8192)\n"
            f"call({131 if X86 else 132}, b, None)\nsignal.siginterrupt(11, True)\n"
            "ctypes.string_at(0)", "died of SIGSEGV", RE),
    Hostile("write-code", "writes over the interpreter's code, which all children share",
            CALL + "f = ctypes.cast(ctypes.pythonapi.PyLong_FromLong, ctypes.c_void_p).value\n"
            "page = ctypes.c_void_p(f & ~4095)\n"
            "if libc.mprotect(page, ctypes.c_size_t(8192), 7) != 0: os.abort()\n"
            "ctypes.memset(f, 0xcc, 64)\nprint(1 << 40)", "dies; nobody else's copy changes", RE),
    Hostile("after-written-code", "runs after such a program", "print(1 << 40)",
            "has the code as it was", AC, wanted=str(1 << 40), limits=EASY,
            first=CALL + "f = ctypes.cast(ctypes.pythonapi.PyLong_FromLong, ctypes.c_void_p).value"
            "\nlibc.mprotect(ctypes.c_void_p(f & ~4095), ctypes.c_size_t(8192), 7)\n"
            "ctypes.memset(f, 0xcc, 64)\nprint(1 << 40)"),
    Hostile("write-library-map", "a shared map of the library for writing",
            "import mmap, os\nmmap.mmap(os.open(os.__file__, 0), 99)", "refused", RE,
            says="Error: [Errno"),
    Hostile("write-library-private", "changes a private map of the library",
            "import mmap, os\nm = mmap.mmap(os.open(os.__file__, 0), 99, flags=2)\n"
            "m[:9] = b'x' * 9\nprint('ok')", "its own copy", AC, limits=EASY),
    Hostile("futex-on-library", "waits on a word of the library's file for another jail",
            CALL + "import mmap\nlibc.mmap.restype = ctypes.c_void_p\n"
            "p = libc.mmap(None, ctypes.c_size_t(4096), 1, 1, os.open(os.__file__, 0), "
            "ctypes.c_long(0))\nv = ctypes.c_uint32.from_address(p).value\n"
            f"call({202 if X86 else 98}, ctypes.c_void_p(p), 0, v, "
            "(ctypes.c_long * 2)(99, 0), 0, 0)", "idle limit", TLE, limits=SLEEP),
    loop("kernel-copies", "lets the kernel copy zeros for ever",
         "import os\na, b = os.open('/dev/zero', 0), os.open('/dev/null', 1)\n"
         "while True: os.writev(b, [bytes(1 << 20)] * 8), os.read(a, 1 << 22)"),
    loop("page-faults", "touches pages and gives them back, for ever",
         "import mmap\nm = mmap.mmap(-1, 1 << 24)\nwhile True:\n"
         "    for at in range(0, 1 << 24, 4096): m[at] = 1\n    m.madvise(mmap.MADV_DONTNEED)"),
    loop("random-bytes", "asks for random bytes for ever",
         "import os\nwhile True: os.getrandom(1 << 24)"),
    loop("naps-and-bursts", "works half of the time, to look neither busy nor idle",
         "import time\nwhile True:\n    time.sleep(0.003)\n    t = time.thread_time()\n"
         "    while time.thread_time() - t < 0.003: pass"),
    loop("timer-signals", "thousands of timers that fire at once",
         CALL + "import signal\nsignal.signal(34, lambda *a: None)\n"
         "e = (ctypes.c_int * 16)(0, 0, 34, 0)\n"
         f"for _ in range(2000):\n    t = ctypes.c_int()\n"
         f"    if libc.syscall({222 if X86 else 107}, 1, e, ctypes.byref(t)): break\n"
         f"    libc.syscall({223 if X86 else 110}, t, 0, (ctypes.c_long * 4)(0, 1000, 0, 1000), 0)"
         "\nwhile True: pass"),
    Hostile("barriers", "expensive memory barriers for ever",
            CALL + f"while True: call({324 if X86 else 283}, 1, 0, 0)", "CPU or idle limit", TLE,
            limits=SLEEP),
    Hostile("hole-in-output", "the answer behind a hole in stdout",
            "import os\nos.lseek(1, 10, 0)\nos.write(1, b'ok')", "NUL bytes are text", WA),
    Hostile("output-rewritten", "60 kB of rubbish, taken back before the answer",
            "import os\nos.write(1, b'x' * 60000)\nos.ftruncate(1, 0)\nos.lseek(1, 0, 0)\n"
            "print('ok')", "what the file holds at the end counts", AC, limits=EASY),
    Hostile("output-read-back", "reads its own output and prints it again",
            "import os\nos.write(1, b'o')\nassert os.pread(1, 9, 0) == b'o'\nos.write(1, b'k')",
            "accepted", AC, limits=EASY),
    Hostile("output-appended", "writes at the end whatever the offset says",
            CALL + "os.write(1, b'o')\nos.pwritev(1, [b'k'], 0, 0x10)", "accepted", EITHER,
            limits=EASY),
    Hostile("output-from-kernel", "lets the kernel copy its input to its output",
            "import os\nos.sendfile(1, 0, 0, 99)", "accepted", AC, given="ok", limits=EASY),
    Hostile("judge-modules", "imports the judge's own modules",
            "import sys\nfor name in ('rlef', 'rlef.sandbox', 'zygote', 'spawn', 'program',\n"
            "             'jail', 'rlef.sandbox.jail', 'namespaces', 'seccomp', 'child', 'watch',\n"
            "             'structs', 'rlef.sandbox.child', 'rlef.sandbox.watch'):\n"
            "    try:\n        __import__(name)\n        print('found', name)\n"
            "    except ImportError: pass\nprint('ok')", "there are none", AC, limits=EASY),
    Hostile("memory-shared-with-zygote", "looks for memory that it shares with the zygote",
            "import mmap\nm = mmap.mmap(-1, 4096)\nm[0] = 1\nprint('ok')",
            "there is none: its own is gone with it", AC, limits=EASY),
    Hostile("alarm-at-the-end", "a signal that comes while the process ends",
            "import atexit, os, signal, time\nprint('ok', flush=True)\n"
            "signal.setitimer(0, 0.01)\natexit.register(time.sleep, 0.1)", "died of SIGALRM", RE,
            says="SIGALRM"),
    Hostile("descriptor-3-first", "writes to descriptor 3 before anything else, and answers",
            "import os\nos.pwrite(3, b'M', 1)\nprint('ok')", "accepted: exit status 0", AC,
            limits=EASY),
    Hostile("no-mark", "takes the mark away that it was compiled, and answers",
            "import os\nos.ftruncate(3, 0)\nprint('ok')", "its own loss", ("CE", "RE", "WA"),
            limits=EASY),
    Hostile("setup-forged", "ends as a child does that cannot be set up",
            "import os\nos.ftruncate(3, 0)\nos._exit(126)", "its own loss, never IE",
            ("CE", "RE")),
    Hostile("threads-at-the-end", "starts 300 threads in an exit hook, or as many as can be had",
            "import atexit, threading, time\nthreading.stack_size(65536)\n"
            "@atexit.register\ndef f():\n    try:\n"
            "        for _ in range(300): threading.Thread(target=time.sleep, args=(.2,)).start()\n"
            "    except RuntimeError: pass\nprint('ok')", "accepted", AC,
            limits=Limits(cpu_s=5.0, memory_mb=1024, output_kb=256)),
)  # fmt: skip
