"""Odd programs that are right, and must pass."""

from hostile.case import AC, EASY, RE, Hostile, Limits

ODD = (
    ("future", "from __future__ import annotations",
     "from __future__ import annotations\ndef f(x: no_such) -> nor_this: return x\nprint(f('ok'))"),
    ("main-guard", "if __name__ == '__main__'",
     "def main(): print('ok')\nif __name__ == '__main__': main()"),
    ("main-module", "imports __main__", "import __main__\nx = 'ok'\nprint(__main__.x)"),
    ("dataclass", "a dataclass with annotations as text",
     "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\n"
     "class A:\n    x: 'int' = 5\nprint('ok' if A() == A(5) else 0)"),
    ("open-0", "open(0)", "print(open(0).read())"),
    ("os-read", "os.read(0)", "import os\nprint(os.read(0, 10**6).decode())"),
    ("sys-stdin-loop", "for line in sys.stdin", "import sys\nfor l in sys.stdin: print(l)"),
    ("input-to-the-end", "input() until EOFError",
     "try:\n    while True: print(input())\nexcept EOFError: pass"),
    ("input-rebound", "input = sys.stdin.readline",
     "import sys\ninput = sys.stdin.readline\nprint(input().strip())"),
    ("fileinput", "fileinput", "import fileinput\nfor l in fileinput.input(): print(l)"),
    ("mmap-stdin", "maps its input", "import mmap\nprint(mmap.mmap(0, 0, prot=1).read().decode())"),
    ("bytes-io", "io.BytesIO round os.read and fstat",
     "import io, os\nr = io.BytesIO(os.read(0, os.fstat(0).st_size)).readline\n"
     "print(r().decode())"),
    ("print-no-end", "print with end=''", "print('o', end='')\nprint('k', end='')"),
    ("stdout-write", "sys.stdout.write and buffer.write",
     "import sys\nsys.stdout.write('o')\nsys.stdout.flush()\nsys.stdout.buffer.write(b'k')"),
    ("thread-recursion", "a thread with a large stack and deep recursion",
     "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 27)\n"
     "def f(n): return n and f(n - 1)\ndef main():\n    f(50000)\n    print('ok')\n"
     "t = threading.Thread(target=main)\nt.start()\nt.join()"),
    ("recursion-limit", "recursion 20,000 deep", "import sys\nsys.setrecursionlimit(10**5)\n"
     "def f(n): return n and f(n - 1)\nf(20000)\nprint('ok')"),
    ("lru-cache-recursion", "lru_cache recursion 3000 deep",
     "import sys\nfrom functools import lru_cache\nsys.setrecursionlimit(10**5)\n"
     "@lru_cache(None)\ndef f(n): return n and f(n - 1)\nf(3000)\nprint('ok')"),
    ("thread-pool", "ThreadPoolExecutor",
     "from concurrent.futures import ThreadPoolExecutor as P\n"
     "with P(8) as p: print(*p.map(str, ['ok']))"),
    ("asyncio", "asyncio.run",
     "import asyncio\nasync def f():\n    await asyncio.sleep(0.01)\n    print('ok')\n"
     "asyncio.run(f())"),
    ("asyncio-gather", "asyncio with a thread and a queue",
     "import asyncio\nasync def f():\n    q = asyncio.Queue()\n    await q.put('ok')\n"
     "    print(await asyncio.to_thread(lambda s: s, await q.get()))\nasyncio.run(f())"),
    ("decimal", "decimal, fractions, heapq, bisect",
     "import decimal, fractions, heapq, bisect, statistics\nx = [2, 1]\nheapq.heapify(x)\n"
     "print('ok' if decimal.Decimal('0.1') * 3 == decimal.Decimal('0.3') and x[0] == 1 else x)"),
    ("random-seeded", "random with a seed",
     "import random\nrandom.seed(1)\na = random.random()\nrandom.seed(1)\n"
     "print('ok' if a == random.random() else a)"),
    ("sleep-short", "sleeps 20 ms", "import time\ntime.sleep(0.02)\nprint('ok')"),
    ("walrus", "walrus, match, f-strings",
     "match [5, (n := 6)]:\n    case [5, x] if x == n: print(f\"{'ok'!s:>4}\")"),
    ("exception-notes", "except*, groups and notes",
     "try: raise ExceptionGroup('g', [ValueError()])\nexcept* ValueError: print('ok')"),
    ("generators", "generators closed at the end",
     "def g():\n    try: yield 'ok'\n    finally: pass\nx = g()\nprint(next(x))"),
    ("exec-eval", "exec and eval", "exec('x = 1')\nprint(eval(\"'ok' if x else 0\"))"),
    ("monkeypatch-input", "replaces input by a lambda",
     "import builtins\nbuiltins.input = lambda: 'ok'\nprint(input())"),
    ("pickle-and-copy", "pickles its own class",
     "import copy, pickle\nclass A: x = 'ok'\n"
     "print(pickle.loads(pickle.dumps(copy.deepcopy(A()))).x)"),
    ("typing-hints", "get_type_hints and NamedTuple",
     "import typing\nclass A(typing.NamedTuple):\n    x: int\n"
     "print('ok' if typing.get_type_hints(A) == {'x': int} else 0)"),
    ("doctest", "doctest of itself",
     "def f():\n    '''\n    >>> f()\n    5\n    '''\n    return 5\nimport doctest\n"
     "print('ok' if doctest.testmod().failed == 0 else 'no')"),
    ("unittest", "unittest of itself",
     "import unittest, io\nclass T(unittest.TestCase):\n    def test(self): pass\n"
     "unittest.main(exit=False, argv=['x'])\nprint('ok')"),
    ("contextlib", "redirect_stdout and back",
     "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()): print('no')\n"
     "print('ok')"),
    ("many-modules", "imports much of the standard library",
     "import argparse, base64, calendar, cmath, csv, datetime, difflib, enum, gzip, hashlib\n"
     "import inspect, ipaddress, logging, numbers, pathlib, pprint, queue, secrets, shlex\n"
     "import string, struct, tempfile, textwrap, uuid, zoneinfo, xml.etree.ElementTree\n"
     "print('ok')"),
    ("sqlite", "sqlite3 in memory, where it is installed",
     "try: import sqlite3\nexcept ImportError: print('ok')\n"
     "else: print(sqlite3.connect(':memory:').execute(\"select 'ok'\").fetchone()[0])"),
    ("logging", "logs to stderr",
     "import logging\nlogging.basicConfig(level=10)\nlogging.info('x')\nprint('ok')"),
    ("time-and-date", "clocks and time zones",
     "import time, datetime\ndatetime.datetime.now().astimezone()\ntime.localtime()\nprint('ok')"),
    ("getpid", "asks the machine about itself",
     "import os, platform, resource, sys\nos.getpid(), os.cpu_count(), platform.machine()\n"
     "resource.getrusage(0), resource.getrlimit(9), os.times(), os.uname()\nprint('ok')"),
    ("condition-variables", "threads with a condition",
     "import threading\nc, x = threading.Condition(), []\ndef f():\n    with c:\n"
     "        x.append('ok'); c.notify()\nt = threading.Thread(target=f)\nwith c:\n    t.start()\n"
     "    c.wait_for(lambda: x)\nprint(*x)"),
    ("own-lines", "prints its own traceback",
     "import traceback\ntry: 1 / 0\nexcept ZeroDivisionError: pass\n"
     "try: [][5]  # ok\nexcept IndexError: print(traceback.format_exc().split('# ')[1][:2])"),
    ("own-source", "reads its own source",
     "import inspect\ndef f():\n    pass  # ok\nprint(inspect.getsource(f).split()[-1])"),
    ("own-warning", "a warning shows its line",
     "import io, sys, warnings\nsys.stderr = io.StringIO()\nwarnings.warn('x')  # ok\n"
     "print(sys.stderr.getvalue().split()[-1])"),
    ("numpy", "numpy", "import numpy as np\nprint('ok' if np.arange(10).sum() == 45 else 0)"),
    ("numpy-linear-algebra", "numpy.linalg and random",
     "import numpy as np\na = np.eye(50) * 2\n"
     "print('ok' if abs(np.linalg.solve(a, np.ones(50)).sum() - 25) < 1e-9 else 0)"),
    ("numpy-stdin", "numpy reads the input",
     "import sys\nimport numpy as np\nprint(sys.stdin.readline() if np.zeros(1)[0] == 0 else 0)"),
)  # fmt: skip

CASES = (
    *(Hostile(n, a, s, "accepted", AC, given="ok\n", limits=EASY) for n, a, s in ODD),
    Hostile("sort", "reads and sorts 10**5 integers",
            "import sys\nd = list(map(int, sys.stdin.read().split()))\nprint(*sorted(d))",
            "accepted", AC, given=" ".join(map(str, range(100_000, 0, -1))),
            wanted=" ".join(map(str, range(1, 100_001))),
            limits=Limits(cpu_s=5.0, memory_mb=512, output_kb=1024)),
    Hostile("asserts", "assert is not optimised away", "assert False", "AssertionError", RE,
            says="AssertionError"),
)  # fmt: skip
