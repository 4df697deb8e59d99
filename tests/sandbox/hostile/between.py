"""What one test of a program leaves for the next: both have the same files, one after the other."""

from dataclasses import replace

from hostile.case import AC, CALL, EASY, Hostile

TESTS = 5
"""Two sets of files are used in turn, so the third test has those of the first."""
TRY = "import fcntl, os\ndef attempt(f, *a):\n    try: return f(*a)\n    except OSError: pass\n"
LOCK = (
    TRY
    + """
import struct
def lock(command, kind, start, length=0):
    words = struct.pack('hhqqi4x', kind, 0, start, length, 0)
    return attempt(fcntl.fcntl, fd, command, words)
for fd in (1, 2, 3, os.open(os.__file__, 0)):
    seen = lock(fcntl.F_GETLK, 1, 0)
    if seen is not None and struct.unpack('hhqqi4x', seen)[0] != 2: print('seen', fd)
    COMMANDS
"""
)
SHAPES = "[(s.st_mode, s.st_uid, s.st_nlink, s.st_size) for s in map(os.fstat, (1, 2))]"


def clean(name: str, attack: str, source: str, expectation: str = "finds nothing") -> Hostile:
    return Hostile(name, attack, source + "\nprint('ok')\n", expectation, AC, given="one 2\n",
                   limits=EASY, tests=TESTS)  # fmt: skip


CASES = (
    clean("ofd-locks", "locks of open files, which live as long as the file",
          LOCK.replace("COMMANDS", "lock(37, 1, 4711 + fd, 7)\n    lock(37, 0, 5000, 7)")),
    clean("posix-locks", "locks of the process",
          LOCK.replace("COMMANDS", "lock(fcntl.F_SETLK, 1, 4711 + fd, 7)")),
    clean("flock", "whole-file locks that the next run would wait for",
          TRY + "fd = os.open(os.__file__, 0)\nfor f in (0, 1, 2, 3, fd):\n"
          "    attempt(fcntl.flock, f, fcntl.LOCK_EX)"),
    clean("offsets", "moves to the end of its input and its output",
          "import os\nassert os.read(0, 99) == b'one 2\\n' and os.lseek(1, 0, 1) == 0\n"
          "os.lseek(0, 10**6, 0)\nos.write(2, b'x' * 999)", "each test begins at the start"),
    clean("flags", "leaves append, non-blocking, direct, async and no-access-time modes",
          TRY + "bad = os.O_APPEND | os.O_NONBLOCK | 0o20000\nfor fd in (0, 1, 2, 3):\n"
          "    assert not fcntl.fcntl(fd, fcntl.F_GETFL) & bad, fd\n"
          "    for f in (0o2000, 0o4000, 0o20000, 0o40000, 0o1000000):\n"
          "        attempt(fcntl.fcntl, fd, fcntl.F_SETFL, f)", "no flag is left"),
    clean("owner", "leaves itself as the owner who gets signals",
          TRY + "for fd in (0, 1, 2, 3):\n    assert not attempt(fcntl.fcntl, fd, fcntl.F_GETOWN)\n"
          "    attempt(fcntl.fcntl, fd, fcntl.F_SETOWN, os.getpid())\n"
          "    attempt(fcntl.fcntl, fd, 10, 9)\n"
          "    attempt(fcntl.fcntl, fd, fcntl.F_SETFL, 0o20000)"),
    clean("leases", "leases, file notification, write hints",
          TRY + "for fd in (0, 1, 2, 3):\n    for command in (1024, 1026, 1036, 1038):\n"
          "        attempt(fcntl.fcntl, fd, command, 1)"),
    clean("output-of-the-last", "reads what the test before printed",
          "import os\nfor fd in (1, 2): assert os.pread(fd, 99, 0) == b'', fd\n"
          "os.write(2, b'left over')"),
    clean("result-of-the-last", "reads the result of the test before",
          "import os\nassert os.pread(3, 99, 0) == b'r'\nos.write(3, b'left over')"),
    clean("longer-output", "prints 60 kB, then takes all but two bytes back",
          "import os\nos.write(1, b'x' * 60000)\nos.ftruncate(1, 2)\n"
          "os.ftruncate(1, 0)\nos.lseek(1, 0, 0)", "nothing of it comes back"),
    clean("behind-the-end", "hides bytes behind the end of its output, in the last page",
          "import mmap, os\nos.ftruncate(1, 4096)\nassert os.pread(1, 4096, 0) == bytes(4096)\n"
          "m = mmap.mmap(1, 4096)\nos.ftruncate(1, 1)\nm[1:9] = b'left it!'\nos.ftruncate(1, 0)"),
    clean("map-kept", "maps its output, and a thread writes through the map to the very end",
          "import mmap, os, threading\nos.ftruncate(1, 8192)\nm = mmap.mmap(1, 8192)\n"
          "os.ftruncate(1, 0)\ndef f():\n    while True:\n        try: os.pwrite(2, b'late', 0)\n"
          "        except OSError: pass\nthreading.Thread(target=f, daemon=True).start()"),
    clean("sealed", "seals all its files",
          TRY + "for fd in range(4):\n    for seals in (1, 2, 4, 8, 16):\n"
          "        attempt(fcntl.fcntl, fd, 1033, seals)"),
    clean("input-changed", "writes to its input, cuts it, makes it longer",
          TRY + "import mmap\nassert os.pread(0, 99, 0) == b'one 2\\n'\n"
          "attempt(os.pwrite, 0, b'XX', 0)\nattempt(os.ftruncate, 0, 0)\n"
          "attempt(os.ftruncate, 0, 99)\nattempt(os.posix_fallocate, 0, 0, 4096)\n"
          "attempt(lambda: mmap.mmap(0, 6, prot=3))", "each test has its own input"),
    clean("input-mapped", "makes the map of its input writable",
          TRY + CALL + "import mmap\nm = mmap.mmap(0, 6, prot=1)\n"
          "address = ctypes.c_char.from_buffer_copy(m)\n"
          "libc.mmap.restype = ctypes.c_void_p\n"
          "p = libc.mmap(None, ctypes.c_size_t(4096), 1, 1, 0, ctypes.c_long(0))\n"
          "if libc.mprotect(ctypes.c_void_p(p), ctypes.c_size_t(4096), 3) == 0:\n"
          "    ctypes.memset(p, 65, 3)\nassert os.read(0, 99) == b'one 2\\n'",
          "it cannot; each test has its own input"),
    clean("owner-and-mode", "gives its files other modes, owners, times and attributes",
          f"{TRY}shapes = {SHAPES}\nassert len(set(shapes)) == 1, shapes\nfor fd in range(4):\n"
          "    attempt(os.fchmod, fd, 0)\n    attempt(os.fchown, fd, 1, 1)\n"
          "    attempt(os.utime, fd, (1, 1))\n    attempt(os.setxattr, fd, 'user.x', b'x')\n"
          "    assert not attempt(os.listxattr, fd)\n"
          f"assert {SHAPES} == shapes"),
    clean("compiled-code", "looks for the file with its own compiled code, to change it",
          "import os\nfor fd in range(4, 300):\n    try: os.pwrite(fd, bytes(99), 0)\n"
          "    except OSError: continue\n    print('wrote to', fd)"),
    clean("own-code", "changes its own code objects",
          "def f(): return 'o' + 'k'\nassert f() == 'ok'\n"
          "f.__code__ = f.__code__.replace(co_consts=(None, 'no'))"),
    clean("timers", "leaves alarms and timers",
          "import signal, time\nassert signal.getitimer(0) == signal.getitimer(1) == (0.0, 0.0)\n"
          "signal.signal(signal.SIGALRM, signal.SIG_IGN)\nsignal.setitimer(0, 0.001, 0.001)\n"
          "signal.setitimer(1, 9)"),
    clean("descriptors-in-flight", "sends its files into a socket that sends itself",
          "import socket\na, b = socket.socketpair()\n"
          "socket.send_fds(a, [b'x'], [0, 1, 2, 3, a.fileno(), b.fileno()])\n"
          "socket.send_fds(b, [b'x'], [0, 1, 2, 3, a.fileno(), b.fileno()])"),
    clean("children", "asks what the tests before have used",
          "import os, resource\nassert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime == 0\n"
          "assert os.times().children_user == 0"),
    clean("memory-figure", "leaves a peak of memory for the next test",
          "import resource\nassert resource.getrusage(0).ru_maxrss < 90_000\n"
          "x = bytearray(120 << 20)"),
    clean("random", "uses up random numbers, which are the same in each test",
          "import random\nfirst = random.random()\nrandom.seed(0)\n"
          "assert random.random() == first\nrandom.seed(4711)"),
    clean("text-state", "changes locale, time zone, folder, mask, recursion and digits limits",
          "import os, sys, time\nassert os.umask(0o777) == 0o22\n"
          "assert sys.getrecursionlimit() == 1000 and time.timezone == 0\n"
          "sys.setrecursionlimit(77)\nsys.set_int_max_str_digits(0)\nos.chdir('/usr')\n"
          "os.environ['TZ'] = 'X-9'\ntime.tzset()"),
    clean("interpreter", "patches types of the interpreter in its memory",
          "import ctypes, sys\nassert (1 << 3) + 249 == 257 and 5 + 2 == 7\nassert () == tuple()\n"
          "ctypes.c_uint32.from_address(id(7) + 24).value = 8\n"
          "sys.intern('left over')\nctypes.c_uint32.from_address(id(7) + 24).value = 7"),
    clean("caches", "fills the caches of the library",
          "import linecache, re, sys\nassert not sys.path_importer_cache.get('/left')\n"
          "assert 'left' not in linecache.cache\nre.compile('left')\n"
          "linecache.cache['left'] = (1, None, ['x'], 'left')\n"
          "sys.path_importer_cache['/left'] = 1"),
    replace(
        clean("odd-flags", "opens the library with odd modes, and descriptors that stay open",
              "import os\nfor f in (0, os.O_PATH, os.O_DIRECTORY, os.O_NOFOLLOW):\n"
              "    try:\n        for _ in range(50): os.open('/usr/lib', f)\n"
              "    except OSError: pass"),
        first="import os\nfor _ in range(50): os.open('/usr/lib', os.O_PATH)",
    ),
)  # fmt: skip
