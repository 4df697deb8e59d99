"""Numbers: nan, infinities, big integers, the edges of floats."""

from hostile.case import AC, EASY, MLE, RE, WA, Hostile

FLOAT = "float(abs=1e-6,rel=1e-6)"


def good(name: str, attack: str, printed: str, wanted: str, checker: str = FLOAT) -> Hostile:
    return Hostile(name, attack, f"print({printed})", "accepted", AC, "", wanted, limits=EASY,
                   checker=checker)  # fmt: skip


def wrong(name: str, attack: str, printed: str, wanted: str, checker: str = FLOAT) -> Hostile:
    return Hostile(name, attack, f"print({printed})", "not equal", WA, "", wanted, checker=checker)


def fails(name: str, attack: str, source: str, error: str) -> Hostile:
    return Hostile(name, attack, source, error, RE, says=error)


CASES = (
    wrong("nan", "nan for a number", "float('nan')", "0.5"),
    wrong("nan-for-zero", "nan for 0.0", "float('nan')", "0.0"),
    wrong("minus-nan", "-nan for a number", "'-nan'", "0.5"),
    wrong("infinity", "inf for the largest float", "float('inf')", "1e308"),
    wrong("overflow-text", "1e400 for 1e308", "'1e400'", "1e308"),
    wrong("infinity-expected", "a huge number for 1e999", "'1e400'", "1e999"),
    wrong("underscore", "1_000.0 for 1000.0", "'1_000.0'", "1000.0"),
    wrong("hexadecimal", "0x10 for 16.0", "'0x10'", "16.0"),
    wrong("unicode-digits", "Arabic digits", "'\u0661.\u0665'", "1.5"),
    wrong("two-to-the-53", "2**53 for 2**53 + 1", "2**53", str(2**53 + 1)),
    wrong("big-neighbour", "the neighbour of a big integer", "10**30 + 1", str(10**30)),
    wrong("float-for-int", "3.0 for 3", "3.0", "3", "tokens"),
    wrong("float-for-int-float", "3.00001 for 3", "3.00001", "3"),
    wrong("outside-tolerance", "an error of 1e-5", "1.00001", "1.0"),
    wrong("more-tokens", "one number too many", "1.0, 2.0", "1.0"),
    wrong("fewer-tokens", "one number too few", "1.0", "1.0 2.0"),
    wrong("true-for-one", "True for 1", "1 == 1", "1", "tokens"),
    wrong("plus-sign", "+5 for 5", "'+5'", "5", "tokens"),
    wrong("leading-zero", "05 for 5", "'05'", "5", "tokens"),
    wrong("minus-zero", "-0.0 for 0.0", "-0.0", "0.0", "tokens"),
    wrong("complex", "a complex number", "complex(1, 0)", "1.0"),
    wrong("comma", "a decimal comma", "'1,5'", "1.5"),
    good("same-nan", "nan where nan is expected", "float('nan')", "nan"),
    good("exponent", "1e-7 for 0.0000001", "1e-7", "0.0000001"),
    good("minus-zero-float", "-0.0 for 0.0", "-0.0", "0.0"),
    good("binary-fraction", "0.1 + 0.2", "0.1 + 0.2", "0.3"),
    good("within-tolerance", "an error of 1e-7", "1.0000001", "1.0"),
    good("relative", "a relative error of 1e-7", "1e15 + 1e8", "1000000000000000.0"),
    good("denormal", "the smallest float", "5e-324", "0.0"),
    good("int-for-float", "3 for 3.0", "3", "3.0"),
    good("float-for-int-near", "3.0000001 for 3", "3.0000001", "3"),
    good("big-exact", "a big integer", "2**521 - 1", str(2**521 - 1), "tokens"),
    good("digits-at-the-limit", "4300 digits", "10**4299", "1" + "0" * 4299, "tokens"),
    fails("digits-over-the-limit", "4301 digits", "print(10**4300)", "ValueError"),
    fails("parse-over-the-limit", "reads 4301 digits", "int('9' * 4301)", "ValueError"),
    fails("shift-huge", "1 << 10**20", "1 << 10**20", "Error"),
    fails("int-of-infinity", "int(inf)", "int(float('inf'))", "OverflowError"),
    fails("int-of-nan", "int(nan)", "int(float('nan'))", "ValueError"),
    fails("float-power", "2.0 ** 10000", "2.0 ** 10000", "OverflowError"),
    fails("float-of-huge", "float(10**400)", "float(10**400)", "OverflowError"),
    fails("zero-power", "0 ** -1", "0 ** -1", "ZeroDivisionError"),
    fails("length-huge", "len(range(10**30))", "len(range(10**30))", "OverflowError"),
    fails("repeat-huge", "'x' * 10**20", "'x' * 10**20", "OverflowError"),
    fails("sleep-negative", "sleeps -1 s", "import time\ntime.sleep(-1)", "ValueError"),
    fails("sleep-huge", "sleeps 1e20 s", "import time\ntime.sleep(1e20)", "Error"),
    fails("decimal-overflow", "a Decimal beyond its exponent",
          "from decimal import Decimal\nDecimal(10) ** 10**18 * 10", "Overflow"),
    Hostile("decimal-precision", "a Decimal with all the precision there is",
            "import decimal\ndecimal.getcontext().prec = decimal.MAX_PREC\n"
            "decimal.getcontext().Emax = decimal.MAX_EMAX\ndecimal.Decimal(1) / 3", "MemoryError",
            MLE),
    Hostile("repeat-huge-list", "[0] * 2**60", "[0] * 2**60", "MemoryError", MLE),
    Hostile("digits-unlimited", "lifts the digit limit, prints 5000 digits",
            "import sys\nsys.set_int_max_str_digits(0)\nprint(10**4999)", "accepted", AC,
            wanted="1" + "0" * 4999, limits=EASY),
)  # fmt: skip
