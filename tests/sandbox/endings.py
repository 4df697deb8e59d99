"""Programs whose output or exit status hangs on how the interpreter ends. They read no input."""

DEL = (
    "class D:\n    def __init__(self, n): self.n = n\n    def __del__(self): print('del', self.n)\n"
)
W = (
    "import sys, os\nclass W:\n    def __init__(self): self.parts = []\n"
    "    def write(self, s): self.parts.append(s)\n"
)
FLUSHES = W + "    def flush(self): os.write(1, ''.join(self.parts).encode()); self.parts = []\n"
FAST = """
import os, sys
from io import BytesIO, IOBase
class FastIO(IOBase):
    def __init__(self, file):
        self._fd = file.fileno()
        self.buffer = BytesIO()
        self.writable = 'x' in file.mode or 'r' not in file.mode
        self.write = self.buffer.write if self.writable else None
    def flush(self):
        if self.writable:
            os.write(self._fd, self.buffer.getvalue())
            self.buffer.truncate(0), self.buffer.seek(0)
class IOWrapper(IOBase):
    def __init__(self, file):
        self.buffer = FastIO(file)
        self.flush = self.buffer.flush
        self.writable = self.buffer.writable
        self.write = lambda s: self.buffer.write(s.encode('ascii'))
sys.stdin, sys.stdout = IOWrapper(sys.stdin), IOWrapper(sys.stdout)
print('fast')
"""

STREAMS = {
    "atexit writes what a StringIO gathered": (
        "import atexit, io, sys\nb = io.StringIO()\nsys.stdout = b\n"
        "atexit.register(lambda: sys.__stdout__.write(b.getvalue()))\nprint(4)"
    ),
    "a replaced stdout is not the first one": (
        "import io, sys\nprint('a')\nsys.stdout = io.StringIO()\nprint('b')\n"
        "sys.__stdout__.write('c')"
    ),
    "stdout is None": "import sys\nprint('a')\nsys.stdout = None\nprint('b')",
    "stdout is gone": "import sys\nprint('a')\ndel sys.stdout\nsys.__stdout__.write('b')",
    "both are None": "import sys\nprint('a')\nsys.stdout = sys.__stdout__ = None",
    "the first one is None": "import sys\nprint('a')\nsys.__stdout__ = None\nprint('b')",
    "the first one is gone": "import sys\nprint('a')\ndel sys.__stdout__\nprint('b')",
    "the first one is gone, the second is kept": (
        "import io, sys\nprint('a')\nkept = sys.stdout\nsys.stdout = io.StringIO()\n"
        "del sys.__stdout__\nkept.write('b')"
    ),
    "stdout is closed": "import sys\nprint('a')\nsys.stdout.close()",
    "stdout is closed, then printed to": ("import sys\nprint('a')\nsys.stdout.close()\nprint('b')"),
    "its buffer is closed": "import sys\nprint('a')\nsys.stdout.flush()\nsys.stdout.buffer.close()",
    "its buffer is closed with text pending": ("import sys\nprint('a')\nsys.stdout.buffer.close()"),
    "stdout is detached": "import sys\nprint('a')\nsys.stdout.detach()",
    "stdout is detached and written to": (
        "import sys\nprint('a')\nb = sys.stdout.detach()\nb.write(b'b')"
    ),
    "stdout is detached and wrapped anew": (
        "import io, sys\nprint('a')\nsys.stdout = io.TextIOWrapper(sys.stdout.detach())\nprint('b')"
    ),
    "descriptor 1 is closed, nothing pending": "import os\nos.close(1)",
    "descriptor 1 is closed, text pending": "import os\nprint('a')\nos.close(1)",
    "descriptor 2 is closed, text pending": (
        "import os, sys\nprint('a')\nsys.stderr.write('b')\nos.close(2)\nsys.stderr.write('b')"
    ),
    "stderr is None": "import sys\nsys.stderr = None\nprint('a')",
    "stderr is gone": "import sys\ndel sys.stderr\nprint('a')\n1 / 0",
    "stderr is stdout": "import sys\nprint('a')\nsys.stderr = sys.stdout\nsys.exit('b')",
    "stdout is stderr": "import sys\nprint('a')\nsys.stdout = sys.stderr\nprint('b')",
    "a wrapper of the buffer, global": (
        "import io, sys\nprint('a')\nw = io.TextIOWrapper(sys.stdout.buffer)\nw.write('b')"
    ),
    "a wrapper of the buffer as stdout": (
        "import io, sys\nprint('a')\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)\nprint('b')"
    ),
    "a wrapper of the buffer as stdout, line by line": (
        "import io, sys\nprint('a')\n"
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)\n"
        "print('b')\nsys.__stdout__.write('c')"
    ),
    "two wrappers of the buffer": (
        "import io, sys\nv = io.TextIOWrapper(sys.stdout.buffer)\n"
        "w = io.TextIOWrapper(sys.stdout.buffer)\nv.write('a')\nw.write('b')\nprint('c')"
    ),
    "a codecs writer": (
        "import codecs, sys\nprint('a')\nsys.stdout = codecs.getwriter('utf8')(sys.stdout.buffer)\n"
        "print('b')"
    ),
    "text and bytes": "import sys\nprint('a')\nsys.stdout.buffer.write(b'b')\nprint('c')",
    "bytes in a raw file": "import sys\nprint('a')\nsys.stdout.buffer.raw.write(b'b')",
    "open(1) as a global": "print('a')\nf = open(1, 'w')\nf.write('b')",
    "open(1) without closing": "print('a')\nf = open(1, 'w', closefd=False)\nf.write('b')",
    "open(1) in a list": "print('a')\nfs = [open(1, 'w', closefd=False)]\nfs[0].write('b')",
    "open(1) dropped at once": "print('a')\nopen(1, 'w', closefd=False).write('b')\nprint('c')",
    "open(1) closes it": "print('a')\nopen(1, 'w').write('b')\nprint('c')",
    "open(1) in a function": (
        "def f():\n    f = open(1, 'w', closefd=False)\n    f.write('b')\nprint('a')\nf()"
    ),
    "open(1) in a closure": (
        "def make():\n    f = open(1, 'w', closefd=False)\n    return lambda s: f.write(s)\n"
        "put = make()\nput('a')\nprint('b')"
    ),
    "open(1) on an object": (
        "class A: pass\na = A()\na.f = open(1, 'w', closefd=False)\na.f.write('a')\nprint('b')"
    ),
    "open(1) on a class": (
        "class A:\n    f = open(1, 'w', closefd=False)\nA.f.write('a')\nprint('b')"
    ),
    "open(1) in a cycle": (
        "class A: pass\na = A()\na.a = a\na.f = open(1, 'w', closefd=False)\na.f.write('a')\n"
        "del a\nprint('b')"
    ),
    "open(1) among functions": (
        "f = open(1, 'w', closefd=False)\ndef put(s): f.write(s)\nput('a')\nprint('b')"
    ),
    "open(1) as a default": (
        "def put(s, f=open(1, 'w', closefd=False)): f.write(s)\nput('a')\nprint('b')"
    ),
    "open(1) in a partial print": (
        "from functools import partial\nprint = partial(print, file=open(1, 'w', closefd=False))\n"
        "print('a')"
    ),
    "open(1) as stdout": "import sys\nprint('a')\nsys.stdout = open(1, 'w')\nprint('b')",
    "open(1) as an attribute of sys": (
        "import sys\nsys.out = open(1, 'w', closefd=False)\nsys.out.write('a')\nprint('b')"
    ),
    "open(1) as a builtin": (
        "import builtins\nbuiltins.out = open(1, 'w', closefd=False)\nout.write('a')\nprint('b')"
    ),
    "open(1) as an attribute of a module": (
        "import math\nmath.out = open(1, 'w', closefd=False)\nmath.out.write('a')\nprint('b')"
    ),
    "open(1) in bytes": "f = open(1, 'wb', closefd=False)\nf.write(b'a')\nprint('b')",
    "open(1) in bytes among functions": (
        "f = open(1, 'wb', closefd=False)\ndef put(s): f.write(s)\nput(b'a')\nprint('b')"
    ),
    "fdopen": "import os\nf = os.fdopen(1, 'w')\nf.write('a')",
    "fdopen of a copy": "import os\nf = os.fdopen(os.dup(1), 'w')\nf.write('a')\nprint('b')",
    "fdopen of a copy as stdout": (
        "import os, sys\nprint('a')\nsys.stdout = os.fdopen(os.dup(1), 'w')\nprint('b')"
    ),
    "FileIO and BufferedWriter": (
        "import io\nf = io.BufferedWriter(io.FileIO(1, 'w', closefd=False))\nf.write(b'a')"
    ),
    "FileIO and BufferedWriter among functions": (
        "import io\nr = io.FileIO(1, 'w', closefd=False)\nf = io.BufferedWriter(r)\n"
        "def put(s): f.write(s)\nput(b'a')\nprint('b')"
    ),
    "a wrapper's subclass that writes when it is closed": (
        "import io, sys\nclass T(io.TextIOWrapper):\n    def close(self):\n"
        "        self.write('closed')\n        super().close()\n"
        "sys.stdout = T(sys.stdout.buffer)\nprint('a')"
    ),
    "a wrapper's subclass that says when it is flushed": (
        "import io, os, sys\nclass T(io.TextIOWrapper):\n    def flush(self):\n"
        "        super().flush()\n        os.write(1, b'flushed')\n"
        "sys.stdout = T(sys.stdout.buffer, write_through=True)\nprint('a')"
    ),
    "an object that writes when it is flushed": FLUSHES + "sys.stdout = W()\nprint('a')",
    "an object that cannot be flushed": W + "sys.stdout = W()\nprint('a')\nos.write(1, b'b')",
    "an object whose flush fails": (
        W + "    def flush(self): 1 / 0\nprint('a')\nsys.stdout = W()\nprint('b')"
    ),
    "an object whose flush fails as stderr": (
        W + "    def flush(self): 1 / 0\nprint('a')\nsys.stderr = W()"
    ),
    "an object whose flush exits": (
        W + "    def flush(self): sys.exit(3)\nprint('a')\nsys.stdout = W()"
    ),
    "an object that says it is closed": FLUSHES + "W.closed = True\nsys.stdout = W()\nprint('a')",
    "an object that does not know whether it is closed": (
        FLUSHES + "W.closed = property(lambda self: 1 / 0)\nsys.stdout = W()\nprint('a')"
    ),
    "an object that writes when it dies": (
        W + "    def flush(self): pass\n"
        "    def __del__(self): os.write(1, ''.join(self.parts).encode())\n"
        "sys.stdout = W()\nprint('a')"
    ),
    "an object that prints on the first stdout when it dies": (
        W + "    def flush(self): pass\n"
        "    def __del__(self): print(''.join(self.parts), file=sys.__stdout__)\n"
        "sys.stdout = W()\nprint('a')"
    ),
    "fast output, as in contests": FAST,
    "fast output and the first stdout": FAST + "sys.__stdout__.write('slow')",
    "redirected and never undone": (
        "import contextlib, io\nprint('a')\nstack = contextlib.ExitStack()\n"
        "stack.enter_context(contextlib.redirect_stdout(io.StringIO()))\nprint('b')"
    ),
    "redirected in a generator": (
        "import contextlib, io, sys\n@contextlib.contextmanager\ndef quiet():\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as b:\n        yield\n"
        "    print(b.getvalue())\nq = quiet()\nq.__enter__()\nprint('a')"
    ),
    "much": "print('a' * 100000)\nimport sys\nsys.stdout = None",
    "line buffering": (
        "import sys\nsys.stdout.reconfigure(line_buffering=True)\nprint('a')\nprint('b', end='')"
    ),
    "characters that cannot be encoded": (
        "import sys\nsys.stdout.reconfigure(encoding='ascii')\nprint('a')\nprint('\\xe9')"
    ),
    "surrogates": "print('a')\nprint('\\ud800')",
    "stdout lacks write": "import sys\nprint('a')\nsys.stdout = 5",
}

DEATHS = {
    "a global": DEL + "d = D(1)\nprint('a')",
    "several globals": DEL + "b = D('b')\na = D('a')\n_z = D('_z')\nc = D('c')",
    "several globals beside a function": (
        DEL + "b = D('b')\na = D('a')\n_z = D('_z')\ndef f(): return b\nc = D('c')"
    ),
    "one in another": DEL + "d = D(1)\nd.other = D(2)",
    "a cycle": DEL + "d, e = D(1), D(2)\nd.e, e.d = e, d\ndel d, e\nprint('a')",
    "a cycle as a global": DEL + "d, e = D(1), D(2)\nd.e, e.d = e, d\nprint('a')",
    "the collector is off": DEL + "import gc\ngc.disable()\nd = D(1)\nd.d = d\nprint('a')",
    "all is frozen": DEL + "import gc\nd = D(1)\nd.d = d\ngc.freeze()\nprint('a')",
    "globals are still there": (
        "import os\nname = 'n'\nclass D:\n    def __del__(self): print(name, os.sep, len(name))\n"
        "d = D()"
    ),
    "it comes back": (
        "kept = []\nclass D:\n    def __del__(self): print('del'); kept.append(self)\nd = D()"
    ),
    "it makes another": (
        "class D:\n    def __init__(self, n): self.n = n\n    def __del__(self):\n"
        "        print('del', self.n)\n        if self.n: D(self.n - 1)\nd = D(3)"
    ),
    "it fails": "class D:\n    def __del__(self): print('a'); 1 / 0\nd = D()",
    "it exits": "import sys\nclass D:\n    def __del__(self): print('a'); sys.exit(3)\nd = D()",
    "it ends the process": (
        "import os\nclass D:\n    def __del__(self): os._exit(7)\nd = D()\nprint('a')"
    ),
    "it ends the process with the text": (
        "import os, sys\nclass D:\n    def __del__(self): sys.stdout.flush(); os._exit(7)\n"
        "d = D()\nprint('a')"
    ),
    "a hook hears of its error": (
        "import sys\nsys.unraisablehook = lambda e: print('hook', type(e.exc_value).__name__)\n"
        "class D:\n    def __del__(self): 1 / 0\nd = D()"
    ),
    "in a list": DEL + "ds = [D(1), D(2)]",
    "in a dict": DEL + "ds = {1: D(1), 2: D(2)}",
    "in a default": DEL + "def f(d=D(1)): pass",
    "in a closure": DEL + "def make():\n    d = D(1)\n    return lambda: d\nf = make()",
    "in a cache": (
        DEL + "from functools import lru_cache\n@lru_cache(None)\ndef f(n): return D(n)\nf(1)"
    ),
    "on a class": DEL + "class A:\n    d = D(1)",
    "on a function": DEL + "def f(): pass\nf.d = D(1)",
    "on sys": DEL + "import sys\nsys.d = D(1)",
    "on builtins": DEL + "import builtins\nbuiltins.d = D(1)",
    "on a module": DEL + "import math\nmath.d = D(1)",
    "on a module of the program's own": (
        DEL + "import sys, types\nm = sys.modules['m'] = types.ModuleType('m')\nm.d = D(1)"
    ),
    "in sys.modules": DEL + "import sys\nsys.modules['d'] = D(1)",
    "on its thread": DEL + "import threading\nlocal = threading.local()\nlocal.d = D(1)",
    "in a context": (DEL + "import contextvars\nv = contextvars.ContextVar('v')\nv.set(D(1))"),
    "in an error that is kept": (
        DEL + "try:\n    d = D(1)\n    1 / 0\nexcept Exception as e:\n    kept = e"
    ),
    "in a frame that failed": DEL + "def f():\n    d = D(1)\n    1 / 0\nf()",
    "in a frame that left": DEL + "import sys\ndef f():\n    d = D(1)\n    sys.exit()\nf()",
    "in a frame that left with words": (
        DEL + "import sys\ndef f():\n    d = D(1)\n    sys.exit('x')\nf()"
    ),
    "in the code of an exit": DEL + "import sys\nsys.exit(D(1))",
    "as the last value": DEL + "D(1)\nprint('a')",
    "a class of classes": (
        "class M(type):\n    def __del__(cls): print('del', cls.__name__)\n"
        "class A(metaclass=M): pass\nprint('a')"
    ),
    "a class that cannot be counted": (
        "class M(type):\n    __hash__ = None\nclass D(metaclass=M):\n"
        "    def __del__(self): print('del')\nd = D()\nprint('a')"
    ),
    "through weakref": (
        "import weakref\nclass A: pass\na = A()\nr = weakref.ref(a, lambda _: print('gone'))\n"
        "print('a')"
    ),
    "through weakref, the reference first": (
        "import weakref\nclass A: pass\nr = None\na = A()\n"
        "r = weakref.ref(a, lambda _: print('gone'))\ndel r\nprint('a')"
    ),
    "through finalize": (
        "import weakref\nclass A: pass\na = A()\nweakref.finalize(a, print, 'gone')\nprint('a')"
    ),
    "through finalize, not at exit": (
        "import weakref\nclass A: pass\na = A()\nf = weakref.finalize(a, print, 'gone')\n"
        "f.atexit = False\nprint('a')"
    ),
    "through several finalizers": (
        "import weakref\nclass A: pass\na = A()\nfor i in range(3): weakref.finalize(a, print, i)"
    ),
    "a generator": (
        "def g():\n    try: yield 1\n    finally: print('finally')\nit = g()\nnext(it)\nprint('a')"
    ),
    "a generator in a cycle": (
        "def g():\n    try: yield 1\n    finally: print('finally')\nit = g()\nnext(it)\n"
        "box = [it]\nbox.append(box)\ndel it, box\nprint('a')"
    ),
    "a generator that was never started": (
        "def g():\n    try: yield 1\n    finally: print('finally')\nit = g()\nprint('a')"
    ),
    "a generator in a frame that left": (
        "import sys\ndef g():\n    try: yield 1\n    finally: print('finally')\n"
        "for _ in g(): sys.exit(0)"
    ),
    "a generator in a frame that failed": (
        "def g():\n    try: yield 1\n    finally: print('finally')\nfor _ in g(): 1 / 0"
    ),
    "a coroutine": (
        "class A:\n    def __await__(self): yield\nasync def f():\n    try: await A()\n"
        "    finally: print('finally')\nc = f()\nc.send(None)\nprint('a')"
    ),
    "an asynchronous generator": (
        "async def g():\n    try: yield 1\n    finally: print('finally')\n"
        "it = g()\ntry: it.__anext__().send(None)\nexcept StopIteration: pass\nprint('a')"
    ),
    "a context that is open": (
        "import contextlib\n@contextlib.contextmanager\ndef c():\n    try: yield\n"
        "    finally: print('finally')\nx = c()\nx.__enter__()\nprint('a')"
    ),
    "a stack of contexts": (
        "import contextlib\nstack = contextlib.ExitStack()\nstack.callback(print, 'called')\n"
        "print('a')"
    ),
    "a stack of contexts in a with": (
        "import contextlib, sys\nwith contextlib.ExitStack() as stack:\n"
        "    stack.callback(print, 'called')\n    sys.exit(2)"
    ),
    "modules are gone": DEL + "import sys\nd = D(1)\nsys.modules.clear()",
    "main is gone": DEL + "import sys\nd = D(1)\ndel sys.modules['__main__']\nprint('a')",
    "main is another": (
        DEL + "import sys, types\nd = D(1)\nsys.modules['__main__'] = types.ModuleType('x')"
    ),
    "main knows itself": DEL + "import __main__ as me\nd = D(1)\ndef f(): return me",
    "names are gone": DEL + "d = D(1)\nglobals().clear()",
    "made by exec": "exec('''" + DEL + "d = D(1)''')",
    "made by type": "d = type('D', (), {'__del__': lambda self: print('del')})()",
    "print is another by then": (
        DEL + "import builtins\nd = D(1)\nbuiltins.print = lambda *a: builtins.__dict__['x']"
    ),
}

HOOKS = {
    "order": "import atexit\nfor i in range(3): atexit.register(print, i)\nprint('a')",
    "with words": "import atexit\natexit.register(print, 1, end='x')",
    "one fails": (
        "import atexit\natexit.register(print, 1)\natexit.register(lambda: 1 / 0)\n"
        "atexit.register(print, 2)"
    ),
    "one exits": (
        "import atexit, sys\natexit.register(print, 1)\natexit.register(sys.exit, 3)\nprint('a')"
    ),
    "one ends the process": "import atexit, os\natexit.register(os._exit, 4)\nprint('a')",
    "one registers another": (
        "import atexit\natexit.register(lambda: atexit.register(print, 'second'))\nprint('a')"
    ),
    "one is taken back": (
        "import atexit\natexit.register(print, 1)\natexit.unregister(print)\nprint('a')"
    ),
    "all are cleared": "import atexit\natexit.register(print, 1)\natexit._clear()\nprint('a')",
    "after an error": "import atexit\natexit.register(print, 1)\n1 / 0",
    "after an exit": "import atexit, sys\natexit.register(print, 1)\nsys.exit(5)",
    "not after a hard end": "import atexit, os\natexit.register(print, 1)\nos._exit(0)",
    "one closes stdout": "import atexit, sys\nprint('a')\natexit.register(sys.stdout.close)",
    "one prints when stdout is closed": (
        "import atexit, sys\natexit.register(print, 'b')\nprint('a')\nsys.stdout.close()"
    ),
    "one replaces stdout": (
        "import atexit, io, sys\nprint('a')\n"
        "atexit.register(lambda: setattr(sys, 'stdout', io.StringIO()))"
    ),
    "excepthook": "import sys\nsys.excepthook = lambda *e: print('hook', e[0].__name__)\n1 / 0",
    "excepthook fails": "import sys\nsys.excepthook = lambda *e: [][0]\nprint('a')\n1 / 0",
    "excepthook exits": "import sys\nsys.excepthook = lambda *e: sys.exit(9)\nprint('a')\n1 / 0",
    "excepthook ends the process": (
        "import os, sys\nsys.excepthook = lambda *e: os._exit(0)\nprint('a')\n1 / 0"
    ),
    "excepthook is None": "import sys\nsys.excepthook = None\nprint('a')\n1 / 0",
    "excepthook is gone": "import sys\ndel sys.excepthook\nprint('a')\n1 / 0",
    "excepthook does not hear of exits": (
        "import sys\nsys.excepthook = lambda *e: print('hook')\nsys.exit(4)"
    ),
    "excepthook hears of no code": (
        "import sys\nsys.excepthook = lambda *e: print('hook')\nraise GeneratorExit"
    ),
    "the last error is kept": (
        "import atexit, sys\natexit.register(lambda: print(sys.last_type.__name__))\n1 / 0"
    ),
    "displayhook": "import sys\nsys.displayhook = print\n5",
    "a profile": "import sys\nsys.setprofile(lambda *a: None)\nprint('a')",
    "a trace": "import sys\nsys.settrace(lambda *a: None)\nprint('a')",
}

EXITS = {
    "no code": "import sys\nprint('a')\nsys.exit()",
    "None": "import sys\nsys.exit(None)",
    "0": "import sys\nsys.exit(0)",
    "3": "import sys\nsys.exit(3)",
    "-1": "import sys\nsys.exit(-1)",
    "256": "import sys\nsys.exit(256)",
    "True": "import sys\nsys.exit(True)",
    "False": "import sys\nsys.exit(False)",
    "2**31": "import sys\nsys.exit(2 ** 31)",
    "2**40 + 5": "import sys\nsys.exit(2 ** 40 + 5)",
    "2**70": "import sys\nsys.exit(2 ** 70)",
    "0.0": "import sys\nsys.exit(0.0)",
    "text": "import sys\nsys.exit('a')",
    "empty text": "import sys\nsys.exit('')",
    "a tuple": "import sys\nsys.exit((3, 4))",
    "a list": "import sys\nsys.exit([0])",
    "an object": "import sys\nsys.exit(object())",
    "an object that prints": (
        "import sys\nclass A:\n    def __str__(self): print('a'); return 'b'\nsys.exit(A())"
    ),
    "an object that fails to print": (
        "import sys\nclass A:\n    def __str__(self): 1 / 0\nprint('a')\nsys.exit(A())"
    ),
    "an integer of another class": "import sys\nclass A(int): pass\nsys.exit(A(6))",
    "an enum": "import enum, sys\nclass A(enum.IntEnum):\n    X = 5\nsys.exit(A.X)",
    "exit": "print('a')\nexit(4)",
    "quit": "print('a')\nquit()",
    "exit closes stdin": "import sys\ntry: exit(4)\nexcept SystemExit: print(sys.stdin.closed)",
    "raised without a call": "raise SystemExit",
    "raised with two": "raise SystemExit(3, 4)",
    "raised from another": ("try: 1 / 0\nexcept Exception as e: raise SystemExit(2) from e"),
    "a subclass": "class E(SystemExit): pass\nraise E(8)",
    "a subclass with a code of its own": ("class E(SystemExit):\n    code = 8\nraise E(3)"),
    "a code set later": "e = SystemExit(3)\ne.code = 9\nraise e",
    "an exit as the code": "raise SystemExit(SystemExit(3))",
    "in finally": "import sys\ntry: 1 / 0\nfinally: sys.exit(6)",
    "an error after it": "import sys\ntry: sys.exit(6)\nfinally: [][0]",
    "caught": "import sys\ntry: sys.exit(6)\nexcept SystemExit: print('a')",
    "in a group": "raise BaseExceptionGroup('x', [SystemExit(3)])",
    "an error": "print('a')\n1 / 0",
    "an error that cannot be shown": (
        "class E(Exception):\n    def __str__(self): 1 / 0\nprint('a')\nraise E"
    ),
    "an error without a parent": "print('a')\nraise BaseException",
    "much too deep": "def f(): f()\nprint('a')\nf()",
    "a low limit": "import sys\nprint('a')\nsys.setrecursionlimit(60)",
    "a hard end": "import os\nprint('a')\nos._exit(0)",
    "a hard end after a flush": "import os\nprint('a', flush=True)\nos._exit(3)",
    "abort": "import os\nprint('a', flush=True)\nos.abort()",
    "a signal": "import os, signal\nprint('a', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)",
    "does not compile": "print('a')\nx = = 1",
    "does not compile in exec": "print('a')\nexec('x = = 1')",
}

LAST = "import threading\ndef f(): threading.main_thread().join(); print('b')\n"

THREADS = {
    "one goes on": LAST + "threading.Thread(target=f).start()\nprint('a')",
    "one sleeps": (
        "import threading, time\ndef f(): time.sleep(0.1); print('b')\n"
        "print('a')\nthreading.Thread(target=f).start()"
    ),
    "several go on": (
        "import threading\nlast = threading.main_thread()\n"
        "def f(i, other): other.join(); print(i)\n"
        "for i in range(3):\n"
        "    last = threading.Thread(target=f, args=(i, last))\n    last.start()\n"
        "print('a')"
    ),
    "one starts another": (
        "import threading\ndef f(n):\n    threading.main_thread().join()\n    print(n)\n"
        "    if n: threading.Thread(target=f, args=(n - 1,)).start()\n"
        "threading.Thread(target=f, args=(3,)).start()\nprint('a')"
    ),
    "a daemon sleeps": (
        "import threading, time\ndef f(): time.sleep(5); print('b')\n"
        "threading.Thread(target=f, daemon=True).start()\nprint('a')"
    ),
    "a daemon waits for a lock": (
        "import threading\nlock = threading.Lock()\nlock.acquire()\n"
        "threading.Thread(target=lock.acquire, daemon=True).start()\nprint('a')"
    ),
    "a bare thread sleeps": (
        "import _thread, time\n_thread.start_new_thread(time.sleep, (5,))\nprint('a')"
    ),
    "one fails": (
        "import threading\nthread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\n"
        "thread.join()\nprint('a')"
    ),
    "one exits": (
        "import sys, threading\nthread = threading.Thread(target=sys.exit, args=(3,))\n"
        "thread.start()\nthread.join()\nprint('a')"
    ),
    "one ends the process": (
        "import os, threading, time\nthreading.Thread(target=os._exit, args=(5,)).start()\n"
        "time.sleep(5)"
    ),
    "a hook hears of its error": (
        "import threading\nthreading.excepthook = lambda a: print('hook', a.exc_type.__name__)\n"
        "threading.Thread(target=lambda: 1 / 0).start()"
    ),
    "main fails while one goes on": LAST + "threading.Thread(target=f).start()\n1 / 0",
    "main exits while one goes on": (
        LAST + "import sys\nthreading.Thread(target=f).start()\nsys.exit(3)"
    ),
    "hooks run after it": (
        LAST + "import atexit\natexit.register(print, 'c')\n"
        "threading.Thread(target=f).start()\nprint('a')"
    ),
    "a hook starts one": (
        "import atexit, threading\nthread = threading.Thread(target=print, args=('b',))\n"
        "atexit.register(lambda: (thread.start(), thread.join()))\nprint('a')"
    ),
    "a timer": "import threading\nprint('a')\nthreading.Timer(0.1, print, ('b',)).start()",
    "a pool with work left": (
        "from concurrent.futures import ThreadPoolExecutor\nimport time\n"
        "print('a')\n"
        "pool = ThreadPoolExecutor(1)\nfor i in range(3): pool.submit(time.sleep, 0.05)\n"
        "pool.submit(print, 'b')"
    ),
    "the usual one with a large stack": (
        "import sys, threading\nsys.setrecursionlimit(10 ** 6)\nthreading.stack_size(1 << 26)\n"
        "def f(n): return n and 1 + f(n - 1)\n"
        "thread = threading.Thread(target=lambda: print(f(20000)))\nthread.start()\nthread.join()"
    ),
    "one writes to a StringIO": (
        LAST + "import atexit, io, sys\nb = sys.stdout = io.StringIO()\n"
        "atexit.register(lambda: sys.__stdout__.write(b.getvalue()))\n"
        "threading.Thread(target=f).start()\nprint('a')"
    ),
    "a value of its own": (
        DEL + "import threading\nlocal = threading.local()\n"
        "def f(): local.d = D(1)\nthread = threading.Thread(target=f)\n"
        "thread.start()\nthread.join()\nprint('a')"
    ),
}

PROGRAMS = {
    f"{kind}: {name}": source
    for kind, sources in (
        ("streams", STREAMS),
        ("deaths", DEATHS),
        ("hooks", HOOKS),
        ("exits", EXITS),
        ("threads", THREADS),
    )
    for name, source in sources.items()
}
