"""The result channel of functions: descriptor 3 written with the right cookie, and odd results."""

from hostile.case import AC, RE, WA, Hostile, Limits

NEVER = ("WA", "RE")
ROOMY = Limits(cpu_s=5.0, memory_mb=512, output_kb=1024)
COOKIE = """
import os, sys
def cookie():
    g = sys._getframe()
    while g:
        if type(g.f_locals.get('cookie')) is str: return g.f_locals['cookie'].encode()
        g = g.f_back
def send(text):
    os.write(3, cookie() + text)
    os._exit(0)
"""


def forged(
    name: str, attack: str, text: str, wanted: str = "[1]", verdicts: tuple[str, ...] = NEVER,
    checker: str = "tokens", expectation: str = "read as plain data; never right",
) -> Hostile:  # fmt: skip
    """A program that finds the cookie and writes the message itself."""
    return Hostile(name, f"a message of its own with the true cookie: {attack}",
                   f"{COOKIE}def f(): send({text})\n", expectation, verdicts, given="[]",
                   wanted=wanted, mode="function", entry_point="f", limits=ROOMY,
                   checker=checker)  # fmt: skip


def returns(
    name: str, attack: str, source: str, verdicts: tuple[str, ...], wanted: str,
    expectation: str, checker: str = "tokens",
) -> Hostile:  # fmt: skip
    return Hostile(name, attack, source, expectation, verdicts, given="[]", wanted=wanted,
                   mode="function", entry_point="f", limits=ROOMY, checker=checker)  # fmt: skip


DEEP = "b'[' * 900 + b']' * 900"
CASES = (
    forged("right-value", "the right value, which it knows", "b'[1]'", verdicts=AC,
           expectation="nothing gained: it could have returned it"),
    forged("deep", "lists nested 900 deep", DEEP),
    forged("deep-loose", "the same, where values are compared loosely", DEEP,
           checker="compat:lcb-call"),
    forged("deep-any-order", "the same, where the order is free", DEEP, checker="unordered-lines"),
    forged("deep-marked", "the same after the mark of a literal",
           f"b'[\"__python__\", ' + {DEEP} + b']'"),
    forged("deep-literal", "a literal nested 900 deep",
           "b'{\"__python__\": \"' + b'(' * 900 + b',)' * 900 + b'\"}'"),
    forged("deep-for-a-check", "lists nested 900 deep, for an expression", DEEP,
           wanted='{"__check__": "result == 1"}'),
    forged("deepest", "a list nested 100,000 deep", "b'[' * 10**5"),
    forged("not-utf-8", "bytes that are no text", "b'\\xff\\xfe'"),
    forged("half-a-character", "half a character", "b'\"\\xe4\\xb8\"'"),
    forged("nothing", "nothing at all", "b''", verdicts=RE),
    forged("nul", "NUL bytes", "bytes(99)"),
    forged("nan", "nan and infinities", "b'[NaN, Infinity, -Infinity]'", wanted="[1]"),
    forged("too-large", "a float beyond all", "b'1e999'", wanted="1e308"),
    forged("many-digits", "an integer of 500,000 digits", "b'[' + b'9' * 500_000 + b']'"),
    forged("many-digits-check", "the same, for an expression", "b'9' * 500_000",
           wanted='{"__check__": "result == 1"}'),
    forged("key-twice", "a key twice, first wrong and then right", "b'{\"a\": 2, \"a\": 1}'",
           wanted='{"a": 1}'),
    forged("a-check", "a check of its own", "b'{\"__check__\": \"True\"}'"),
    forged("literal-call", "a literal that calls",
           "b'{\"__python__\": \"[print(1)]\"}'",
           wanted='{"__python__": "[1]"}'),
    forged("literal-dict", "a dict of keys with one hash", "b'{\"__python__\": \"{' + b','.join("
           "b'%d:0' % (i * (2**61 - 1)) for i in range(20000)) + b'}\"}'",
           wanted='{"__python__": "{}"}'),
    forged("literal-set", "a set of integers with one hash", "b'{\"__python__\": \"{' + b','.join("
           "b'%d' % (i * (2**61 - 1)) for i in range(20000)) + b'}\"}'",
           wanted='{"__python__": "{1}"}'),
    forged("literal-surrogate", "a literal of bytes with a surrogate in it",
           "b'{\"__python__\": \"b\\'\\\\ud800\\'\"}'", wanted='{"__python__": "[1]"}'),
    forged("injection", "code for the expression's jail",
           "b'\"\\\\\" or True or \\\\\"\"'", wanted='{"__check__": "result == 1"}', verdicts=WA,
           expectation="text stays text"),
    forged("two-messages", "the right value twice", "b'[1]' + cookie() + b'[1]'"),
    forged("blanks", "the right value among 600 kB of blanks", "b' ' * 600_000 + b'[1]'",
           verdicts=AC, expectation="nothing gained"),
    returns("written-late", "a hole before the message, by moving in the file",
            "import os\ndef f():\n    os.lseek(3, 99, 0)\n    return [1]", RE, "[1]",
            "no message where it should be"),
    returns("cut-later", "cuts its message in an exit hook",
            "import atexit, os\natexit.register(os.ftruncate, 3, 3)\ndef f(): return [1]", RE,
            "[1]", "half a cookie is none"),
    returns("closed", "closes descriptor 3 and returns",
            "import os\ndef f():\n    os.close(3)\n    return [1]", RE, "[1]", "no message"),
    returns("stdout-instead", "puts stdout in place of descriptor 3",
            "import os\ndef f():\n    os.dup2(1, 3)\n    return [1]", RE, "[1]", "no message"),
    returns("raises-after", "writes a message, then raises",
            f"{COOKIE}def f():\n    os.write(3, cookie() + b'[1]')\n    1 / 0", RE, "[1]",
            "not exit status 0"),
    returns("mark-as-value", "a dict that looks like the mark of a literal",
            "def f(): return {'__python__': '1'}", WA, "1", "a dict, not what is in it"),
    returns("mark-as-expected", "the same, rightly", "def f(): return {'__python__': '[1]'}",
            AC, '{"__python__": "{\'__python__\': \'[1]\'}"}', "accepted"),
    returns("check-as-value", "a dict that looks like a check",
            "def f(): return {'__check__': 'True'}", WA, '{"__check__": "result == 1"}',
            "a value like others"),
    returns("type-patched", "replaces type, list and dict, then returns a liar",
            "import builtins\nclass A(list):\n    def __iter__(self): return iter([1])\n"
            "def f():\n    builtins.type = lambda x: list\n    return A([2])", AC,
            "[2]", "what it holds counts"),
    returns("factory", "a defaultdict whose factory would answer",
            "import collections\ndef f(): return collections.defaultdict(lambda: 1)", WA,
            '{"a": 1}', "what it holds counts"),
    returns("counter-liar", "a Counter subclass",
            "import collections\nclass C(collections.Counter):\n"
            "    def items(self): return [('a', 1)]\ndef f(): return C()", WA, '{"a": 1}',
            "what it holds counts"),
    returns("nested-101", "a list nested 101 deep, one more than allowed",
            "def f():\n    x = []\n    for _ in range(102): x = [x]\n    return x", RE, "[]",
            "TypeError"),
    returns("tuple-key", "a dict with a tuple as key", "def f(): return {(1, 2): 3}", RE,
            '{"(1, 2)": 3}', "JSON has no such keys"),
    returns("one-hash", "a set of 20,000 integers with one hash, made slowly",
            "def f():\n    x = set()\n    for i in range(3000): x.add(i * (2**61 - 1))\n"
            "    return x", NEVER, '{"__python__": "set()"}', "compared in linear time"),
    returns("big-list", "a list of 100,000 integers", "def f(): return list(range(100_000))", AC,
            str(list(range(100_000))), "accepted"),
    returns("exit-hook-status", "the right value, then os._exit(0) in an exit hook",
            "import atexit, os\natexit.register(os._exit, 0)\ndef f(): return [1]", AC, "[1]",
            "returned, and exit status 0"),
    returns("thread-result", "another thread writes to descriptor 3 while the result is sent",
            "import os, threading\ndef w():\n    while True: os.write(3, b'x')\n"
            "def f():\n    threading.Thread(target=w, daemon=True).start()\n"
            "    return list(range(9999))", ("RE", "WA", "OLE"), "[1]", "never accepted"),
)  # fmt: skip
