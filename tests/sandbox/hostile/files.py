"""The file system, and what a program leaves for the next."""

from hostile.case import AC, CALL, EASY, MLE, RE, Hostile, Limits, number

WRITES = (
    ("write-root", "a file in /", "open('/x', 'w')"),
    ("write-tmp", "a file in /tmp", "open('/tmp/x', 'w')"),
    ("write-here", "a file in its own folder", "open('x', 'w')"),
    ("write-shm", "a file in /dev/shm", "open('/dev/shm/x', 'w')"),
    ("write-library", "changes the standard library",
     "import colorsys\nopen(colorsys.__file__, 'a').write('x')"),
    ("write-cache", "a poisoned byte code file",
     "import os, py_compile\npy_compile.compile(os.__file__, cfile='/tmp/x.pyc', doraise=True)"),
    ("mkdir", "a folder", "import os\nos.mkdir('/x')"),
    ("symlink", "a link", "import os\nos.symlink('/dev/zero', '/x')"),
    ("hard-link", "a hard link", "import os\nos.link(os.__file__, '/x')"),
    ("rename", "renames the library", "import os\nos.rename(os.__file__, '/x')"),
    ("unlink", "removes a device", "import os\nos.unlink('/dev/null')"),
    ("rmtree", "removes everything", "import shutil\nshutil.rmtree('/')"),
    ("chmod", "changes a mode", "import os\nos.chmod(os.__file__, 0o777)"),
    ("chown", "changes an owner", "import os\nos.chown(os.__file__, 0, 0)"),
    ("utime", "changes a time", "import os\nos.utime(os.__file__)"),
    ("truncate", "empties the library", "import os\nos.truncate(os.__file__, 0)"),
    ("mkfifo", "a named pipe", "import os\nos.mkfifo('/x')"),
    ("mknod", "a device for the disk", "import os\nos.mknod('/x', 0o60666, 0x800)"),
    ("setxattr", "an attribute", "import os\nos.setxattr('/', 'user.x', b'x')"),
    ("unnamed-file", "a file with no name", "import os\nos.open('/', os.O_TMPFILE | os.O_RDWR)"),
    ("temporary-file", "tempfile.TemporaryFile",
     "import tempfile\ntempfile.TemporaryFile().write(b'x')"),
)  # fmt: skip
CLEAN = "finds nothing"
TRY = "import os\ndef attempt(f, *a):\n    try: return f(*a)\n    except BaseException: pass\n"


def pair(name: str, attack: str, first: str, source: str) -> Hostile:
    return Hostile(name, attack, source, CLEAN, AC, wanted="clean", first=first, limits=EASY)


CASES = (
    *(Hostile(n, f"writes: {a}", s, "refused", RE, says="Error") for n, a, s in WRITES),
    Hostile("devices", "uses the four devices", "import os\nopen('/dev/null', 'w').write('x')\n"
            "a = open('/dev/urandom', 'rb').read(8), open('/dev/zero', 'rb').read(8)\n"
            "print('ok' if a[1] == bytes(8) != a[0] else a)", "allowed", AC, limits=EASY),
    Hostile("random-endless", "reads /dev/urandom to its end", "open('/dev/urandom', 'rb').read()",
            "MemoryError", MLE, limits=Limits(cpu_s=3.0, memory_mb=64, output_kb=64)),
    Hostile("symlink-out", "leaves by way of ..",
            "import os\nprint(open('../' * 40 + 'etc/passwd').read())", "no such file", RE,
            says="[Errno 2]"),
    pair("left-files", "leaves files wherever it can",
         TRY + "for p in ('/x-left', '/tmp/x-left', '/dev/shm/x-left', '/box/x-left', 'x-left',\n"
         "          '/usr/lib/x-left', '/dev/x-left', '/packages/x-left'):\n"
         "    attempt(lambda: open(p, 'w').write('x'))",
         "import os\nprint([p for d in ('/', '/tmp', '/dev/shm', '/box', '.', '/usr/lib', '/dev')\n"
         "       if os.path.isdir(d) for p in os.listdir(d) if 'left' in p] or 'clean')"),
    pair("left-shm", "leaves a System V segment",
         TRY + CALL + f"attempt(call, {number('shmget')}, 0x4711, 4096, 0o1666)",
         TRY + CALL + f"print(attempt(call, {number('shmget')}, 0x4711, 4096, 0) or 'clean')"),
    pair("left-key", "leaves a key in the key ring",
         TRY + CALL + f"attempt(call, {number('add_key')}, b'user', b'left', b'x', 1, -4)",
         TRY + CALL + f"print(attempt(call, {number('request_key')}, b'user', b'left', None, 0)"
         " or 'clean')"),
    pair("left-daemon", "leaves a process that looks for its successor",
         TRY + "import time\ndef go():\n    if os.fork() == 0:\n        os.setsid()\n"
         "        time.sleep(99)\nattempt(go)",
         TRY + "import time\ntime.sleep(0.02)\ndef look():\n    os.kill(-1, 0)\n"
         "    return 'somebody'\nprint(attempt(look) or 'clean')"),
    pair("left-socket", "leaves a listener on an abstract address",
         TRY + "import socket\ndef go():\n    s = socket.socket(socket.AF_UNIX)\n"
         "    s.bind('\\0left')\n    s.listen()\n    if os.fork() == 0:\n        while True: pass\n"
         "attempt(go)",
         TRY + "import socket\ndef look():\n    socket.socket(socket.AF_UNIX).connect('\\0left')\n"
         "    return 'somebody'\nprint(attempt(look) or 'clean')"),
    pair("left-directory", "changes folder, umask, time zone and locale",
         "import locale, os, time\nos.chdir('/usr')\nos.umask(0o777)\nos.environ['TZ'] = 'X-9'\n"
         "time.tzset()",
         "import os, time\nprint('clean' if (os.getcwd() != '/usr', time.timezone, os.umask(0)) "
         "== (True, 0, 0o22) else (os.getcwd(), time.timezone, os.umask(0)))"),
    pair("left-patches", "replaces builtins and modules",
         "import builtins, sys, json, os\nfor n in ('print', 'input', 'len', 'type', 'open'):\n"
         "    setattr(builtins, n, None)\njson.dumps = os._exit = sys.exit = None\n"
         "sys.modules.clear()",
         "import json, os, sys\nprint('clean' if len([open, input]) == 2 and sys.exit and "
         "os._exit and json.dumps else 'patched')"),
    pair("left-timer", "leaves an alarm and a memory-hungry signal state",
         "import signal\nsignal.alarm(1)\nsignal.pthread_sigmask(0, signal.valid_signals())\n"
         "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
         "import signal\nprint('clean' if not signal.alarm(0) and signal.getsignal(15) == 0 and "
         "not signal.pthread_sigmask(0, ()) else 'left')"),
    pair("left-limits", "lowers its limits and priority",
         TRY + "import resource\nfor k in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE):\n"
         "    attempt(resource.setrlimit, k, (1, 1))\nattempt(os.nice, 19)",
         "import os, resource\nprint('clean' if os.getpriority(0, 0) < 19 and "
         "resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 9 else 'left')"),
    pair("left-random", "uses up the random numbers",
         "import random\nrandom.seed(4711)\nfor _ in range(1000): random.random()",
         "import random\na = random.random()\nrandom.seed(0)\n"
         "print('clean' if a == random.random() else a)"),
)  # fmt: skip
