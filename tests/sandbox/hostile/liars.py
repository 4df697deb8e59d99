"""Function mode: results that lie about themselves, forged messages."""

from hostile.case import AC, EASY, RE, WA, Hostile

NOT_JSON = "not a JSON value"


def lie(
    name: str, attack: str, source: str, verdicts: tuple[str, ...] = RE,
    expectation: str = NOT_JSON, wanted: str = '"ok"', given: str = "[]",
) -> Hostile:  # fmt: skip
    limits = EASY
    return Hostile(name, attack, source, expectation, verdicts, given=given, wanted=wanted,
                   mode="function", entry_point="f", limits=limits)  # fmt: skip


NEVER = ("WA", "RE")
BASE = "counts as what it is built on"
FRAME = """
import os, sys
def f():
    g = sys._getframe()
    while g:
        for v in list(g.f_locals.values()) + list(g.f_globals.values()):
            if type(v) is str and len(v) == 16: os.write(3, v.encode() + b'"no"')
        g = g.f_back
    os._exit(0)
"""
CASES = (
    lie("equal-to-all", "an object equal to everything",
        "class A:\n    def __eq__(self, o): return True\n    __hash__ = None\ndef f(): return A()"),
    lie("str-subclass", "a str subclass equal to everything",
        "class A(str):\n    def __eq__(self, o): return True\n    def __hash__(self): return 0\n"
        "def f(): return A('no')", WA, BASE),
    lie("int-subclass", "an int subclass that prints as another number",
        "class A(int):\n    def __str__(self): return '5'\n    __repr__ = __str__\n"
        "def f(): return A(3)", WA, BASE, wanted="5"),
    lie("float-subclass", "a float subclass", "class A(float): pass\ndef f(): return A(5)",
        AC, BASE, wanted="5.0"),
    lie("list-subclass", "a list subclass whose iterator lies",
        "class A(list):\n    def __iter__(self): return iter([5])\ndef f(): return A([3])",
        WA, BASE, wanted="[5]"),
    lie("dict-subclass", "a dict subclass whose items lie",
        "class A(dict):\n    def items(self): return [('a', 1)]\ndef f(): return A()",
        WA, BASE, wanted='{"a": 1}'),
    lie("nested-liar", "a str subclass deep in a list",
        "class A(str): pass\ndef f(): return [[[A('ok')]]]", AC, BASE, wanted='[[["ok"]]]'),
    lie("key-liar", "a str subclass as a key",
        "class A(str): pass\ndef f(): return {A('a'): 1}", AC, BASE, wanted='{"a": 1}'),
    lie("enum", "an IntEnum", "import enum\nclass E(enum.IntEnum): A = 5\ndef f(): return E.A",
        AC, BASE, wanted="5"),
    lie("class-property", "an object whose __class__ is str",
        "class A:\n    __class__ = str\n    def __str__(self): return 'ok'\ndef f(): return A()"),
    lie("pickle", "an object with __reduce__",
        "class A:\n    def __reduce__(self): return str, ('ok',)\ndef f(): return A()"),
    lie("generator", "a generator", "def f(): yield 'ok'"),
    lie("coroutine", "a coroutine", "async def f(): return 'ok'"),
    lie("bytes", "bytes", "def f(): return b'ok'"),
    lie("set", "a set", "def f(): return {5}", wanted="[5]"),
    lie("decimal", "a Decimal", "import decimal\ndef f(): return decimal.Decimal(5)", wanted="5"),
    lie("cyclic", "a list that holds itself",
        "def f():\n    x = []\n    x.append(x)\n    return x"),
    lie("nested-deep", "a list nested 10**5 deep",
        "def f():\n    x = []\n    for _ in range(10**5): x = [x]\n    return x"),
    lie("true-for-one", "True for 1", "def f(): return True", WA, "types count", "1"),
    lie("one-for-true", "1 for True", "def f(): return 1", WA, "types count", "true"),
    lie("float-for-int", "1.0 for 1", "def f(): return 1.0", AC, "equal numbers are equal", "1"),
    lie("text-for-int", "'1' for 1", "def f(): return '1'", WA, "types count", "1"),
    lie("none", "nothing", "def f(): pass", WA, "null is a value, a wrong one"),
    lie("nan", "nan, which equals nothing", "def f(): return float('nan')", NEVER, "never right",
        "0.5"),
    lie("infinity", "infinity", "def f(): return float('inf')", NEVER, "never right", "1e308"),
    lie("tuple-for-list", "a tuple for a list", "def f(): return (1, 2)", AC,
        "tuples count as lists", "[1, 2]"),
    lie("noise", "prints a lot and returns the right value",
        "def f():\n    print('noise' * 99)\n    return 'ok'", AC, "stdout does not count"),
    lie("huge-integer-result", "an integer of 4000 digits", "def f(): return 10**3999", AC,
        "integers of any size", "1" + "0" * 3999),
    lie("surrogate-result", "a lone surrogate", "def f(): return '\\ud800'", AC, "escaped in JSON",
        '"\\ud800"'),
    lie("no-function", "no such function", "def g(): return 'ok'", RE, "NameError"),
    lie("not-callable", "the name of something else", "f = 'ok'", RE, "TypeError"),
    lie("more-arguments", "takes no arguments", "def f(): return 'ok'", RE, "TypeError",
        given="[1]"),
    lie("exit-inside", "sys.exit(0) in the function", "import sys\ndef f(): sys.exit(0)", RE,
        "no result"),
    lie("os-exit-inside", "os._exit(0) in the function", "import os\ndef f(): os._exit(0)", RE,
        "no result"),
    lie("crash-inside", "crashes in the function", "import ctypes\ndef f(): ctypes.string_at(0)",
        RE, "died of SIGSEGV"),
    lie("forged", "writes the right value to descriptor 3 and exits",
        "import os\ndef f():\n    os.write(3, b'\"ok\"')\n    os._exit(0)", RE, "no result"),
    lie("forged-old", "a message as an older version of this judge had it",
        "import os\ndef f():\n    os.write(3, b'J\"ok\"')\n    os._exit(0)", RE, "no result"),
    lie("forged-on-import", "the same before the function is called",
        "import os\nos.write(3, b'\"ok\"')\nos._exit(0)", RE, "no result"),
    lie("forged-cookie", "a guess with the cookie found in the frames", FRAME, NEVER,
        "the value is still wrong"),
    lie("forged-first", "a forged message, then another value returned",
        "import os\ndef f():\n    os.write(3, b'\"ok\"')\n    return 'no'", NEVER,
        "never accepted"),
    lie("forged-later", "a second message in an exit hook",
        "import atexit, os\natexit.register(os.write, 3, b'\"ok\"')\ndef f(): return 'no'", NEVER,
        "never accepted"),
    lie("overwritten", "overwrites the message in an exit hook",
        "import atexit, os\natexit.register(os.pwrite, 3, b'\"ok\"', 0)\ndef f(): return 'no'",
        (*NEVER, "CE"), "never accepted"),
    lie("json-patched", "patches json so that the wanted value is sent",
        "import json\njson.dumps = lambda *a, **k: '\"ok\"'\ndef f(): return 'no'", NEVER,
        "the judge kept the true one"),
    lie("crash-after-return", "crashes in an exit hook after the right value",
        "import atexit, ctypes\natexit.register(ctypes.string_at, 0)\ndef f(): return 'ok'", RE,
        "not exit status 0"),
    lie("status-after-return", "os._exit(3) in an exit hook after the right value",
        "import atexit, os\natexit.register(os._exit, 3)\ndef f(): return 'ok'", RE,
        "not exit status 0"),
    Hostile("str-liar", "prints an object whose text changes each time",
            "class A:\n    n = 0\n    def __str__(self):\n        A.n += 1\n"
            "        return 'ok' if A.n == 1 else 'no'\nprint(A())", "what was printed counts", AC,
            limits=EASY),
    Hostile("str-not-text", "prints an object whose text is no text",
            "class A:\n    def __str__(self): return 5\nprint(A())", "TypeError", RE,
            says="TypeError"),
    Hostile("hash-liar", "a key whose hash changes",
            "class A:\n    n = 0\n    def __hash__(self):\n        A.n += 1\n        return A.n\n"
            "d = {A(): 1}\nprint('no' if list(d)[0] in d else 'ok')", "harms only itself", AC,
            limits=EASY),
    Hostile("numpy-scalar", "returns a numpy integer",
            "import numpy\ndef f(): return numpy.int64(5)",
            "counts as what it holds", AC, given="[]", wanted="5", mode="function",
            entry_point="f", limits=EASY),
)  # fmt: skip
