"""Loops, in Python and in C that never returns to the interpreter; waiting; deep recursion."""

from hostile.case import AC, EASY, LOOP, RE, SLEEP, TLE, Hostile, Limits

CPU, IDLE = "CPU limit", "idle limit"


def loop(name: str, attack: str, source: str) -> Hostile:
    return Hostile(name, attack, source, CPU, TLE, limits=LOOP)


def wait(name: str, attack: str, source: str) -> Hostile:
    return Hostile(name, attack, source, IDLE, TLE, limits=SLEEP)


CASES = (
    loop("plain", "while True", "while True: pass"),
    loop("catches-everything", "catches BaseException round an endless loop",
         "while True:\n    try:\n        while True: pass\n    except BaseException: pass"),
    loop("answers-first", "the right answer, then loops",
         "print('ok', flush=True)\nwhile True: pass"),
    loop("regex", "catastrophic backtracking", "import re\nre.match('(a+)+$', 'a' * 50 + 'b')"),
    loop("power", "3 ** 10**8", "pow(3, 10**8)"),
    loop("digits", "decimal digits of a huge integer",
         "import sys\nsys.set_int_max_str_digits(0)\nstr(1 << 10**7)"),
    loop("parse-digits", "a huge integer from text",
         "import sys\nsys.set_int_max_str_digits(0)\nint('9' * 3 * 10**6)"),
    loop("sum-range", "sum(range(10**13))", "sum(range(10**13))"),
    loop("endless-max", "max(itertools.count())", "import itertools\nmax(itertools.count())"),
    loop("endless-in", "looks for 0 among ones", "import itertools\n0 in itertools.repeat(1)"),
    loop("endless-consume", "consumes an endless iterator",
         "import collections, itertools\ncollections.deque(itertools.count(), maxlen=0)"),
    loop("factorial", "math.factorial(10**7)", "import math\nmath.factorial(10**7)"),
    loop("hash-collisions", "a set of integers that all have hash 0",
         "set(i * (2**61 - 1) for i in range(10**5))"),
    loop("product", "math.prod over a huge range", "import math\nmath.prod(range(1, 10**7))"),
    loop("string-replace", "text operations on 10 MB, for ever",
         "x = 'ab' * 5 * 10**6\nwhile True: x.replace('a', 'c')"),
    loop("yield-loop", "gives the core away, for ever",
         "import os\nwhile True: os.sched_yield()"),
    loop("busy-syscalls", "system calls for ever", "import os\nwhile True: os.getppid()"),
    loop("c-loop-holding-the-lock", "a C function that never ends, with a second thread",
         "import threading, time\nthreading.Thread(target=time.sleep, args=(0,)).start()\n"
         "sum(range(10**13))"),
    loop("exit-hook", "loops in an exit hook",
         "import atexit\n@atexit.register\ndef f():\n    while True: pass\nprint('ok')"),
    loop("destructor", "loops in __del__ at the end",
         "class A:\n    def __del__(self):\n        while True: pass\na = A()\nprint('ok')"),
    loop("import-hook", "an import hook that loops",
         "import sys\nclass F:\n    def find_spec(self, *a):\n        while True: pass\n"
         "sys.meta_path.insert(0, F())\nimport colorsys"),
    loop("excepthook", "loops while its error is printed",
         "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E"),
    loop("exit-code", "a SystemExit whose text loops",
         "class C:\n    def __str__(self):\n        while True: pass\nraise SystemExit(C())"),
    loop("flush", "a stdout whose flush loops",
         "import sys\nclass O:\n    closed = False\n    def write(self, t): pass\n"
         "    def flush(self):\n        while True: pass\nsys.stdout = O()\nprint('ok')"),
    Hostile("over-the-limit-by-itself", "uses twice its CPU time, then answers",
            "import time\nwhile time.process_time() < 0.4: pass\nprint('ok')", CPU, TLE,
            limits=LOOP),
    Hostile("within-the-limit", "uses half of its CPU time, then answers",
            "import time\nt = time.process_time()\nwhile time.process_time() - t < 0.1: pass\n"
            "print('ok')", "accepted", AC,
            limits=Limits(cpu_s=0.4, memory_mb=128, output_kb=64)),
    wait("sleep", "sleeps", "import time\ntime.sleep(10**6)"),
    wait("answers-and-sleeps", "the right answer, then sleeps",
         "import time\nprint('ok', flush=True)\ntime.sleep(99)"),
    wait("naps", "sleeps a millisecond at a time",
         "import time\nwhile True: time.sleep(0.001)"),
    wait("lock", "waits for itself",
         "import threading\nl = threading.Lock()\nl.acquire()\nl.acquire()"),
    wait("deadlock", "two threads wait for each other",
         "import threading\na, b, both = threading.Lock(), threading.Lock(), threading.Barrier(2)\n"
         "def f(x, y):\n    with x:\n        both.wait()\n        with y: pass\n"
         "for p in ((a, b), (b, a)): threading.Thread(target=f, args=p).start()"),
    wait("queue", "reads an empty queue", "import queue\nqueue.Queue().get()"),
    wait("pipe", "reads an empty pipe", "import os\nos.read(os.pipe()[0], 1)"),
    wait("pipe-full", "fills a pipe", "import os\nr, w = os.pipe()\nos.write(w, bytes(10**6))"),
    wait("select", "select on nothing", "import select\nselect.select([], [], [])"),
    wait("poll", "poll with no limit", "import os, select\np = select.poll()\n"
         "p.register(os.pipe()[0])\np.poll()"),
    wait("asyncio-wait", "waits for an event that nobody sets",
         "import asyncio\nasync def main(): await asyncio.Event().wait()\nasyncio.run(main())"),
    wait("c-sleep-holding-the-lock", "sleeps in C with the interpreter's lock",
         "import ctypes\nctypes.PyDLL(None).sleep(99)"),
    wait("exit-hook-sleeps", "sleeps in an exit hook",
         "import atexit, time\nprint('ok')\natexit.register(time.sleep, 99)"),
    wait("random-blocks", "getrandom without an end",
         "import os, time\nwhile True:\n    os.urandom(1)\n    time.sleep(0.01)"),
    Hostile("recursion", "recursion without an end", "def f(): f()\nf()", "RecursionError", RE,
            says="RecursionError"),
    Hostile("recursion-repr", "repr of a list nested 10**5 deep",
            "x = []\nfor _ in range(10**5): x = [x]\nrepr(x)", "RecursionError", RE,
            says="RecursionError"),
    Hostile("recursion-c", "recursion in C with the limit lifted",
            "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n"
            "    def __getattr__(self, name): return getattr(self, name)\n"
            "A().x", "the stack ends: SIGSEGV", ("RE", "MLE"),
            limits=Limits(cpu_s=2.0, memory_mb=256, output_kb=64)),
    Hostile("recursion-sort", "a comparison that sorts",
            "class A:\n    def __lt__(self, other): return sorted([A(), A()])\n"
            "sorted([A(), A()])", "RecursionError", RE, says="RecursionError"),
    Hostile("recursion-swallowed", "recursion that catches RecursionError at each level",
            "def f():\n    try: f()\n    except RecursionError: f()\nf()",
            "2**1000 calls; CPU limit", TLE, limits=LOOP),
    Hostile("deep-free", "frees a tuple nested 10**6 deep",
            "x = ()\nfor _ in range(10**6): x = (x,)\ndel x\nprint('ok')", "accepted", AC,
            limits=EASY),
    Hostile("segfault", "reads address 0", "import ctypes\nctypes.string_at(0)",
            "died of SIGSEGV", RE, says="SIGSEGV"),
    Hostile("segfault-write", "writes over the interpreter's own objects",
            "import ctypes\nctypes.memset(id(type), 0xFF, 4096)\ntype(1)", "died of a signal", RE),
    Hostile("segfault-free", "frees what is not its own",
            "import ctypes\nctypes.CDLL(None).free(ctypes.c_void_p(0x4711))",
            "died of a signal", RE),
    Hostile("segfault-call", "calls an address that is no code",
            "import ctypes\nctypes.CFUNCTYPE(None)(0x4711)()", "died of SIGSEGV", RE,
            says="SIGSEGV"),
    Hostile("illegal-instruction", "runs bytes that are no instruction",
            "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(b'\\x0f\\x0b' * 99)\n"
            "ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()",
            "died of a signal, or no such mapping", RE),
)  # fmt: skip
