"""Sources that are hard to compile."""

from hostile.case import AC, CE, EASY, LOOP, RE, Hostile, Limits

SLOW = ("CE", "TLE", "MLE")
BIG = Limits(cpu_s=0.5, memory_mb=128, output_kb=64)


def broken(name: str, attack: str, source: str, verdicts: tuple[str, ...] = CE) -> Hostile:
    return Hostile(name, attack, source, "does not compile", verdicts, limits=BIG)


CASES = (
    broken("parentheses", "10**5 parentheses", "(" * 10**5 + ")" * 10**5),
    broken("parentheses-open", "10**5 open parentheses", "(" * 10**5),
    broken("brackets", "1000 nested lists", "[" * 1000 + "]" * 1000),
    broken("unary", "a million minus signs", "-" * 10**6 + "1", ("CE", "TLE")),
    broken("not", "10**5 times not", "not " * 10**5 + "1", ("CE", "TLE")),
    broken("sum", "a sum of 10**5 terms", "x = " + "+".join(["1"] * 10**5), ("CE", "TLE")),
    broken("attributes", "10**5 attributes in a row", "a = 1\na" + ".b" * 10**5, ("CE", "TLE")),
    broken("calls", "10**5 calls in a row", "f = 1\nf" + "()" * 10**5, ("CE", "TLE")),
    broken("indentation", "200 levels of indentation",
           "".join(" " * n + "if 1:\n" for n in range(200)) + " " * 200 + "pass"),
    broken("loops", "30 nested loops",
           "".join(" " * n + "for x in ():\n" for n in range(30)) + " " * 30 + "pass"),
    broken("lambdas", "10**4 nested lambdas", "x = " + "lambda: " * 10**4 + "0", ("CE", "TLE")),
    broken("conditional", "10**5 nested conditionals", "x = " + "1 if 1 else " * 10**5 + "1",
           ("CE", "TLE")),
    broken("integer-literal", "an integer of 10**5 digits", "x = " + "9" * 10**5),
    broken("no-end", "a string without an end", "x = '''" + "x" * 10**5),
    broken("statement-outside", "return outside a function", "return 'ok'"),
    broken("await-outside", "await outside a function", "await print('ok')"),
    broken("continue-outside", "continue outside a loop", "continue"),
    broken("nonlocal", "nonlocal at the top", "nonlocal x"),
    broken("future-braces", "from __future__ import braces", "from __future__ import braces"),
    broken("future-late", "a __future__ import too late",
           "print('ok')\nfrom __future__ import annotations"),
    broken("backslash", "a backslash at the end", "print('ok')\\"),
    broken("not-python", "C++ for Python", "#include <iostream>\nint main() { return 0; }"),
    broken("markdown", "the fences of a chat model left in", "```python\nprint('ok')\n```"),
    broken("python-2", "a print statement", "print 'ok'"),
    broken("many-statements", "600,000 statements", "x=1\n" * 600_000, SLOW),
    broken("many-constants", "a list of a million numbers",
           "x=[" + ",".join(map(str, range(400_000))) + "]\nwhile True: pass", SLOW),
    broken("many-names", "100,000 functions", "".join(f"def f{n}():0\n" for n in range(100_000)),
           SLOW),
    Hostile("large-comment", "10 MB of comment", "#" * 10**7 + "\nprint('ok')", "accepted", AC,
            limits=Limits(cpu_s=10, memory_mb=512)),
    Hostile("large-string", "a string of 4 MB", f"x = '{'x' * 4 * 10**6}'\nprint(len(x))",
            "accepted", AC, wanted="4000000", limits=Limits(cpu_s=10, memory_mb=512)),
    Hostile("constant-folding", "10 ** 10 ** 8 as a constant",
            "print('ok', flush=True)\nx = 10 ** 10 ** 8", "not folded; CPU limit", ("TLE",),
            limits=LOOP),
    Hostile("constant-strings", "nested repetitions of a string",
            "x = (('x' * 4000) * 4000) * 4000", "not folded; MemoryError", ("MLE",)),
    Hostile("hexadecimal-literal", "a hexadecimal integer of 10**5 digits",
            f"x = 0x{'f' * 10**5}\nprint(x.bit_length())", "accepted", AC, wanted="400000",
            limits=EASY),
    Hostile("many-arguments", "a call with 5000 arguments",
            f"def f(*a): return len(a)\nprint(f({'1,' * 5000}))", "accepted", AC, wanted="5000",
            limits=EASY),
    Hostile("at-run-time", "compiles a bomb while it runs", "eval('(' * 10**4)", "SyntaxError", RE,
            says="SyntaxError"),
    Hostile("at-run-time-exec", "runs a program inside the program",
            "exec(compile('print(\"ok\")', 'x', 'exec'))", "accepted", AC, limits=EASY),
    Hostile("regex-compile", "a pattern of 10**5 groups", "import re\nre.compile('(' * 10**5)",
            "an error", ("RE", "TLE")),
    Hostile("marshal", "rubbish for marshal", "import marshal\nmarshal.loads(b'\\xe3' * 99)",
            "an error", RE),
    Hostile("pickle-bomb", "a pickle that calls os.system",
            "import pickle\npickle.loads(b'cos\\nsystem\\n(S\\'echo ok\\'\\ntR.')\n1 / 0",
            "no shell runs", RE, says="ZeroDivisionError"),
)  # fmt: skip
