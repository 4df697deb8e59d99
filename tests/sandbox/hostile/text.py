"""Text: encodings, NUL, surrogates, line ends, look-alikes."""

from hostile.case import AC, CE, EASY, RE, WA, Hostile

READ = "import sys\nprint(repr(sys.stdin.read()))"


def good(name: str, attack: str, source: str, wanted: str = "ok", given: str = "",
         checker: str = "tokens") -> Hostile:  # fmt: skip
    return Hostile(name, attack, source, "accepted", AC, given, wanted, limits=EASY,
                   checker=checker)  # fmt: skip


def wrong(name: str, attack: str, source: str, wanted: str = "ok",
          checker: str = "tokens") -> Hostile:  # fmt: skip
    return Hostile(name, attack, source, "other bytes", WA, "", wanted, checker=checker)


def broken(name: str, attack: str, source: str) -> Hostile:
    return Hostile(name, attack, source, "does not compile", CE)


CASES = (
    good("unicode", "prints letters of many scripts", "print('äñ漢字😀é')", "äñ漢字😀é"),
    good("unicode-input", "reads them", "print(input())", "ñ漢😀", "ñ漢😀\n"),
    good("unicode-names", "names in Greek, and one that NFKC changes",
         "λ, ﬁ = 'o', 'k'\nprint(λ + fi)"),
    good("nul-out", "prints NUL", "print('a\\0b')", "a\0b"),
    good("nul-in", "reads NUL", READ, "'\\x00\\n'", "\0\n"),
    good("crlf-source", "CRLF line ends in the source", "if 1:\r\n    print('ok')\r\n"),
    good("cr-source", "CR line ends in the source", "if 1:\r    print('ok')\r"),
    good("crlf-in", "CRLF in the input", "print(input().split())", "['1', '2']", "1 2\r\n"),
    good("crlf-out", "CRLF in the output", "print('o', 'k', sep='\\r\\n', end='\\r\\n')", "o\nk\n"),
    good("bom", "a byte order mark", "\ufeffprint('ok')"),
    good("cookie", "an encoding cookie", "# -*- coding: utf-8 -*-\nprint('ä')", "ä"),
    good("cookie-latin-1", "a cookie that says Latin-1",
         "# coding: latin-1\nprint(len('ä'))", "2"),
    good("cookie-second-line", "a cookie in the second line",
         "#!/usr/bin/python\n# vim: set fileencoding=latin-1 :\nprint(len('ä'))", "2"),
    good("form-feed", "form feeds between lines", "\fprint('o')\n\fprint('k')", "o k"),
    good("no-newline", "no line end at the end", "print('ok', end='')"),
    good("blank-lines", "blank lines and blanks round the answer",
         "print('\\n\\n  ok\\t \\n\\n\\v\\f')"),
    good("long-line", "a line of 200 kB in, its length out", "print(len(input()))", "200000",
         "x" * 200000 + "\n"),
    good("line-separators", "only \\n ends a line of input",
         "import sys\nprint(len(list(sys.stdin)))",
         "2", "a\x0b\x0c\x1c\x85\u2028b\nc\n"),
    good("surrogate-in", "a lone surrogate in the input, as bytes",
         "import sys\nprint(len(sys.stdin.buffer.read()))", "3", "\ud800"),
    good("surrogateescape", "prints what it read, bytes that are no text included",
         "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())", "\ud800", "\ud800"),
    good("lines-checker", "trailing blanks under the lines checker",
         "print('a  b \\nc\\n\\n')", "a  b\nc", checker="lines"),
    good("exact-checker", "the same bytes under the exact checker", "print(' ok ')", " ok \n",
         checker="exact"),
    good("escapes-in-source", "a bell and a backspace in a string", "print('o\a\b'[0] + 'k')"),
    good("bidi", "a right-to-left override in a comment", "# \u202e no\nprint('ok')"),
    wrong("case", "capitals", "print('OK')"),
    wrong("non-breaking-space", "a non-breaking space", "print('o\\xa0k')", "o k"),
    wrong("zero-width", "a zero-width space", "print('o\\u200bk')"),
    wrong("look-alike", "a Cyrillic o", "print('\\u043ek')"),
    wrong("decomposed", "an accent of its own", "print('e\\u0301')", "é"),
    wrong("full-width", "full-width digits", "print('\\uff11')", "1"),
    wrong("file-separator", "\\x1c, a blank for Python only", "print('o\\x1ck')", "o k"),
    wrong("nul-tail", "NUL after the answer", "print('ok\\0')"),
    wrong("backspace", "backspaces over a wrong answer", "print('no\\b\\bok')"),
    wrong("colour", "terminal colours", "print('\\x1b[32mok\\x1b[0m')"),
    wrong("bom-out", "a byte order mark before the answer", "print('\\ufeffok')"),
    wrong("bytes-repr", "bytes in place of text", "print(b'ok')"),
    wrong("not-utf8", "bytes that are not UTF-8",
          "import sys\nsys.stdout.buffer.write(b'\\xe4')", "ä"),
    wrong("lines-leading", "a leading blank under the lines checker", "print(' ok')",
          checker="lines"),
    wrong("exact-newline", "one line end too few under the exact checker", "print('ok', end='')",
          "ok\n", "exact"),
    Hostile("surrogate-out", "prints a lone surrogate", "print('\\ud800')", "UnicodeEncodeError",
            RE, says="UnicodeEncodeError"),
    Hostile("surrogate-error", "raises an error with a lone surrogate",
            "raise ValueError('\\ud800')", "escaped on stderr", RE, says="ValueError"),
    Hostile("bytes-on-stderr", "bytes that are no text on stderr",
            "import os\nos.write(2, bytes(range(128, 256)))\n1 / 0", "escaped in the report", RE,
            says="ZeroDivisionError"),
    Hostile("end-of-input", "reads beyond the end", "input()\ninput()", "EOFError", RE, "one line",
            says="EOFError"),
    Hostile("no-input", "reads from no input", "input()", "EOFError", RE, says="EOFError"),
    Hostile("encoding-ascii", "prints ä as ASCII",
            "import sys\nsys.stdout.reconfigure(encoding='ascii')\nprint('ä')",
            "UnicodeEncodeError", RE, says="UnicodeEncodeError"),
    broken("nul-source", "NUL in the source", "print('ok')\0"),
    broken("nul-only", "nothing but NUL", "\0" * 999),
    broken("surrogate-source", "a lone surrogate in the source", "print('\ud800')"),
    broken("cookie-unknown", "a cookie with no such encoding", "# coding: no-such\nprint('ok')"),
    broken("cookie-against-bom", "a cookie against the byte order mark",
           "\ufeff# coding: latin-1\nprint('ok')"),
    broken("nbsp-source", "a non-breaking space as indentation", "if 1:\n\xa0 print('ok')"),
    broken("curly-quotes", "curly quotes", "print(“ok”)"),
    broken("tabs-and-blanks", "tabs and blanks mixed", "if 1:\n\tif 1:\n        print('ok')"),
)  # fmt: skip
