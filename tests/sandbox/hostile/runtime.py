"""Programs that change the runtime under their own feet, or ours."""

from hostile.case import AC, EASY, RE, WA, Hostile

NEVER = ("WA", "RE")
HARMLESS = (
    ("builtins-print", "replaces print",
     "import builtins, os\nbuiltins.print = None\nos.write(1, b'ok')"),
    ("builtins-types", "replaces int, str, type and isinstance",
     "import builtins\nbuiltins.int = builtins.str = builtins.type = list\n"
     "builtins.isinstance = lambda *a: True\nprint('ok')"),
    ("builtins-import", "replaces __import__",
     "import builtins\nbuiltins.__import__ = None\nprint('ok')"),
    ("os-exit-patched", "replaces os._exit", "import os\nos._exit = print\nprint('ok')"),
    ("os-write-patched", "replaces os.write",
     "import os\nos.write = lambda *a: 1 / 0\nprint('ok')"),
    ("modules-cleared", "clears sys.modules", "import sys\nsys.modules.clear()\nprint('ok')"),
    ("modules-replaced", "replaces modules by rubbish",
     "import sys\nfor n in ('os', 'io', 'atexit', 'threading', 'json', 'traceback'):\n"
     "    sys.modules[n] = 7\nprint('ok')"),
    ("main-removed", "removes __main__", "import sys\ndel sys.modules['__main__']\nprint('ok')"),
    ("main-replaced", "replaces __main__",
     "import sys\nsys.modules['__main__'] = 7\nprint('ok')"),
    ("globals-cleared", "clears its own globals", "print('ok')\nglobals().clear()"),
    ("gc-debug", "turns on the collector's debugging",
     "import gc\ngc.set_debug(gc.DEBUG_STATS)\ngc.set_threshold(1)\nprint('ok')"),
    ("gc-off", "turns the collector off", "import gc\ngc.disable()\ngc.unfreeze()\nprint('ok')"),
    ("settrace", "a trace function that raises on the way out",
     "import sys\ndef t(f, e, a):\n    raise ValueError\nprint('ok')\nsys.settrace(t)"),
    ("excepthook-none", "removes sys.excepthook", "import sys\nsys.excepthook = None\nprint('ok')"),
    ("switch-interval", "a switch interval of 10**6 s",
     "import sys\nsys.setswitchinterval(10**6)\nprint('ok')"),
    ("recursion-low", "the lowest recursion limit it can get",
     "import sys\nprint('ok')\nfor n in range(200, 5, -5):\n    try: sys.setrecursionlimit(n)\n"
     "    except RecursionError: break"),
    ("stdout-wrapped", "a new writer round sys.stdout.buffer",
     "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, write_through=True)\n"
     "print('ok')"),
    ("stdout-fast", "the fast output idiom: a BytesIO written at the end",
     "import os, sys, io\nclass F(io.IOBase):\n    def __init__(s): s.b = io.BytesIO()\n"
     "    def write(s, t): s.b.write(t.encode())\n"
     "    def flush(s): os.write(1, s.b.getvalue()); s.b = io.BytesIO()\n"
     "sys.stdout = F()\nprint('ok')\nsys.stdout.flush()"),
    ("stdout-reopened", "opens descriptor 1 again",
     "import sys\nsys.stdout = open(1, 'w', closefd=False)\nprint('ok')"),
    ("json-patched", "replaces json.dumps",
     "import json\njson.dumps = json.loads = None\nprint('ok')"),
    ("ctypes-refcount", "gives None more references",
     "import ctypes\nctypes.c_long.from_address(id(None)).value += 10**6\nprint('ok')"),
    ("subinterpreter", "closes the io module's base classes",
     "import io\nio.TextIOWrapper = io.open = None\nprint('ok')"),
    ("frozen-importlib", "breaks the import system",
     "import sys\nsys.meta_path.clear()\nsys.path_hooks.clear()\nsys.path = None\nprint('ok')"),
    ("warnings-as-errors", "makes warnings errors",
     "import warnings\nwarnings.simplefilter('error')\nprint('ok')"),
    ("atexit-cleared", "clears the exit hooks", "import atexit\natexit._clear()\nprint('ok')"),
)  # fmt: skip

CASES = (
    *(Hostile(n, a, s, "harms only itself; the answer counts", AC, limits=EASY)
      for n, a, s in HARMLESS),
    Hostile("builtins-all", "removes every builtin",
     "import builtins, os\nw = os.write\nfor n in dir(builtins):\n"
     "    if n[0] != '_': delattr(builtins, n) if n not in ('delattr', 'dir') else None\n"
     "w(1, b'ok')", "harms only itself", ("AC", "RE"),
            limits=EASY),
    Hostile("sys-emptied", "empties the module sys",
     "import sys\nprint('ok', flush=True)\nvars(sys).clear()", "harms only itself", ("AC", "RE"),
            limits=EASY),
    Hostile("audit-hook", "an audit hook that refuses everything",
            "import sys\nprint('ok', flush=True)\ndef h(*a): raise RuntimeError\n"
            "sys.addaudithook(h)", "harms only itself", ("AC", "RE"), limits=EASY),
    Hostile("threading-shutdown", "replaces threading._shutdown",
            "import threading\nprint('ok', flush=True)\nthreading._shutdown = None",
            "harms only itself", ("AC", "RE"), limits=EASY),
    Hostile("atexit-run", "replaces what runs the exit hooks",
            "import atexit\nprint('ok', flush=True)\natexit._run_exitfuncs = None",
            "harms only itself", ("AC", "RE"), limits=EASY),
    Hostile("stdout-detached", "detaches sys.stdout and writes bytes",
            "import sys\no = sys.stdout.detach()\no.write(b'ok')\no.flush()",
            "as CPython, which may end with 120", ("AC", "RE"), limits=EASY),
    Hostile("stdout-utf16", "switches stdout to UTF-16",
            "import sys\nsys.stdout.reconfigure(encoding='utf-16')\nprint('ok')", "other bytes",
            WA),
    Hostile("stdout-liar", "a stdout that claims success",
            "import sys\nclass O:\n    closed = False\n    def write(self, t): return len(t)\n"
            "    def flush(self): pass\nsys.stdout = O()\nprint('ok')", "nothing was printed", WA),
    Hostile("status-forged", "makes os._exit always end with 0",
            "import os\ne = os._exit\nos._exit = lambda code: e(0)\nprint('ok', flush=True)\n1 / 0",
            "the judge kept the true one", RE, says="ZeroDivisionError"),
    Hostile("traceback-patched", "makes the traceback module exit with 0",
            "import os, traceback\nprint('ok', flush=True)\n"
            "f = lambda *a, **k: os._exit(0)\nfor n in dir(traceback.TracebackException):\n"
            "    if n in ('format', 'from_exception', '__init__', 'format_exception_only'):\n"
            "        setattr(traceback.TracebackException, n, f)\n1 / 0",
            "not exit status 0, or its own os._exit(0)", ("RE", "AC"), limits=EASY),
    Hostile("exit-status-patched", "patches the frames' globals so that each status is 0",
            "import sys, os\nf = sys._getframe()\nprint('no', flush=True)\nwhile f:\n"
            "    for n in ('exit_status', 'finish', 'report_error', 'flush'):\n"
            "        if n in f.f_globals: f.f_globals[n] = lambda *a: 0\n    f = f.f_back\n1 / 0",
            "a wrong answer stays one", NEVER),
    Hostile("memory-of-the-runtime", "overwrites a cached small integer",
            "import ctypes\nctypes.c_uint32.from_address(id(1) + 24).value = 0\nprint('no')",
            "a wrong answer stays one", NEVER),
    Hostile("code-object", "byte code that does not end",
            "def f(): return 1\nc = f.__code__\n"
            "f.__code__ = c.replace(co_code=bytes([9, 0] * 4))\nf()\nprint('no')",
            "dies, or answers wrong", NEVER),
)  # fmt: skip
