"""Checker programs by the testlib protocol, through the judge."""

from pathlib import Path

import pytest

from rlef.problems import Test
from rlef.sandbox import Limits, Sandbox, TestReport, Verdict
from rlef.sandbox.testlib import CheckerError
from rlef.sandbox.testlib import testlib_header as header_bytes

ECHO = "import sys; sys.stdout.buffer.write({!r})"


def program(body: str) -> str:
    """A checker: what it does after the three files are open."""
    return (
        '#include "testlib.h"\n'
        "using namespace std;\n"
        "int main(int argc, char* argv[]) {\n"
        '    setName("a test checker");\n'
        "    registerTestlibCmd(argc, argv);\n"
        f"    {body}\n"
        "}\n"
    )


TOKENS = program("""
    int n = 0;
    while (!ans.seekEof() && !ouf.seekEof()) {
        n++;
        string j = ans.readWord(), p = ouf.readWord();
        if (j != p)
            quitf(_wa, "%d%s words differ - expected: '%s', found: '%s'", n,
                  englishEnding(n).c_str(), compress(j).c_str(), compress(p).c_str());
    }
    if (ans.seekEof() && ouf.seekEof())
        quitf(_ok, "%d tokens", n);
    quitf(_wa, "%s has extra tokens", ans.seekEof() ? "output" : "answer");
""")
LINES = program("""
    int n = 0;
    while (!ans.eof()) {
        string j = ans.readString();
        if (j.empty() && ans.eof())
            break;
        n++;
        string p = ouf.readString();
        if (tokenize(j, ' ') != tokenize(p, ' '))
            quitf(_wa, "line %d differs", n);
    }
    quitf(_ok, "%d lines", n);
""")
NUMBERS = program("""
    while (!ans.seekEof()) {
        long long j = ans.readLong(), p = ouf.readLong();
        if (j != p)
            expectedButFound<long long>(_wa, j, p, "a number");
    }
    quitf(_ok, "fine");
""")
REALS = program("""
    while (!ans.seekEof()) {
        double j = ans.readDouble(), p = ouf.readDouble();
        if (!doubleCompare(j, p, 1e-6))
            quitf(_wa, "expected %.9f, found %.9f, error %.9f", j, p, doubleDelta(j, p));
    }
    quitf(_ok, "fine");
""")
YESNO = program("""
    string j = upperCase(ans.readWord()), p = upperCase(ouf.readWord());
    if (j != "YES" && j != "NO")
        quitf(_fail, "YES or NO expected in answer, but %s found", j.c_str());
    if (p != "YES" && p != "NO")
        quitf(_pe, "YES or NO expected, but %s found", p.c_str());
    quitif(j != p, _wa, "expected %s, found %s", j.c_str(), p.c_str());
    quitf(_ok, "answer is %s", j.c_str());
""")
FACTORS = program("""
    int n = inf.readInt(1, 1000000, "n");
    auto factors = [&](InStream& stream) -> vector<int> {
        int count = stream.readInt(-1, 20, "count");
        if (count == -1) return {};
        vector<int> all = stream.readInts(count, 2, n, "factor");
        long long product = 1;
        for (int factor : all) product *= factor;
        if (product != n) stream.quitf(_wa, "the product is %lld, not %d", product, n);
        return all;
    };
    vector<int> theirs = factors(ouf), ours = factors(ans);
    if (theirs.size() > ours.size()) quitf(_fail, "the jury has fewer factors");
    if (theirs.size() < ours.size()) quitf(_wa, "%d factors", int(theirs.size()));
    quitf(_ok, "product of %s", join(theirs, ", ").c_str());
""")
ORDER = program("""
    ensuref(inf.readWord() == "given", "input");
    ensuref(ouf.readWord() == "printed", "output");
    ensuref(ans.readWord() == "expected", "answer");
    quit(_ok, "in order");
""")


def judge(
    box: Sandbox, checker: str, printed: str | bytes, wanted: str = "", given: str = ""
) -> TestReport:
    data = printed.encode() if isinstance(printed, str) else printed
    report = box.judge(
        ECHO.format(data), [Test(given, wanted)], checker="testlib", checker_source=checker
    )
    return report.tests[0]


@pytest.mark.parametrize(
    ("checker", "printed", "wanted", "verdict", "words"),
    [
        (TOKENS, "1 2\n3\n", "1\r\n2\t3", "AC", ""),
        (TOKENS, "", "", "AC", ""),
        (TOKENS, "1 2 4", "1 2 3", "WA", "wrong answer 3rd words differ - expected: '3', found"),
        (TOKENS, "1 2 3 4", "1 2 3", "WA", "output has extra tokens"),
        (TOKENS, "1 2", "1 2 3", "WA", "answer has extra tokens"),
        (TOKENS, "a\0b", "a\0b", "AC", ""),
        (TOKENS, "a\0b", "a\0c", "WA", "1st words differ"),
        (TOKENS, "a\0", "a", "WA", "1st words differ"),
        (TOKENS, b"\xff\xfe", "1", "WA", "found: '\\xff\\xfe'"),
        (TOKENS, "\ufeff1", "1", "AC", ""),
        (LINES, "a  b\nc \n", "a b\nc", "AC", ""),
        (LINES, "a b\r\nc\r\n", "a b\nc\n", "AC", ""),
        (LINES, "a b c\n", "a b\nc", "WA", "line 1 differs"),
        (LINES, "a b\nc\nd\n", "a b\nc", "WA", "Extra information in the output file"),
        (NUMBERS, "1 -2 9223372036854775807", "1\n-2\n9223372036854775807", "AC", ""),
        (NUMBERS, "1 3", "1 2", "WA", "wrong answer a number: expected '2', but found '3'"),
        (NUMBERS, "1", "1 2", "WA", "wrong output format Unexpected end of file - int64 expected"),
        (NUMBERS, "9223372036854775808", "1", "WA", "Expected integer, but"),
        (NUMBERS, "1 2 3", "1 2", "WA", "wrong output format Extra information in the output"),
        (NUMBERS, "01", "1", "WA", 'wrong output format Expected integer, but "01" found'),
        (NUMBERS, "+1", "1", "WA", "Expected integer"),
        (NUMBERS, "-0", "0", "WA", "Expected integer"),
        (NUMBERS, "1.0", "1", "WA", "Expected integer"),
        (NUMBERS, "1\0", "1", "WA", "Expected integer"),
        (REALS, "0.3333333 2e6", "0.333333333 2000000", "AC", ""),
        (REALS, "0.3334", "0.333333333", "WA", "error 0.000066667"),
        (REALS, "1000001", "1000000", "AC", ""),
        (REALS, "nan", "1", "WA", 'wrong output format Expected double, but "nan" found'),
        (REALS, "inf", "1", "WA", "Expected double"),
        (REALS, "0x1", "1", "WA", "Expected double"),
        (REALS, "1e999", "1", "WA", "wrong answer"),
        (YESNO, "Yes", "YES", "AC", ""),
        (YESNO, "no\n", "YES", "WA", "expected YES, found NO"),
        (YESNO, "maybe", "YES", "WA", "YES or NO expected, but MAYBE found"),
        (YESNO, "yes yes", "YES", "WA", "Extra information"),
        (YESNO, "yes", "perhaps", "IE", "the checker failed (exit status 3): FAIL YES or NO"),
    ],
)
def test_usual_checkers(
    sandbox: Sandbox, checker: str, printed: str | bytes, wanted: str, verdict: str, words: str
) -> None:
    report = judge(sandbox, checker, printed, wanted)
    assert report.verdict == verdict, report
    assert words in report.message and bool(words) == bool(report.message)


@pytest.mark.parametrize(
    ("printed", "wanted", "verdict", "words"),
    [
        ("2 3 4", "2 2 6", "AC", ""),
        ("2 4 3", "2 2 6", "AC", ""),
        ("-1", "-1", "AC", ""),
        ("1 12", "2 2 6", "WA", "wrong answer 1 factors"),
        ("2 3 5", "2 2 6", "WA", "the product is 15, not 12"),
        ("2 3 13", "2 2 6", "WA", "Integer element factor[2] equals to 13, violates the range"),
        ("99", "2 2 6", "WA", "Integer parameter [name=count] equals to 99"),
        ("3 2 2 3", "2 2 6", "IE", "the jury has fewer factors"),
        ("2 3 4", "2 2 5", "IE", "FAIL the product is 10, not 12 (answer.txt)"),
        ("2 3 4", "", "IE", "FAIL Unexpected end of file - int32 expected (answer.txt)"),
    ],
)
def test_a_checker_for_many_right_answers(
    sandbox: Sandbox, printed: str, wanted: str, verdict: str, words: str
) -> None:
    report = judge(sandbox, FACTORS, printed, wanted, "12")
    assert report.verdict == verdict, report
    assert words in report.message


def test_the_files_come_in_the_right_order(sandbox: Sandbox) -> None:
    assert judge(sandbox, ORDER, "printed", "expected", "given").verdict is Verdict.AC


ENDINGS = """
    string how = inf.readWord();
    if (how == "points") quitp(0.5, "half");
    if (how == "partly") quitf(_pc(40), "forty");
    if (how == "nothing") quitf(_pc(0), "zero");
    if (how == "dirt") quitf(_dirt, "dirt");
    if (how == "eof") quitf(_unexpected_eof, "eof");
    if (how == "status4") _Exit(4);
    if (how == "status5") _Exit(5);
    if (how == "silent") _Exit(1);
    if (how == "ensure") ensure(1 + 1 == 3);
    if (how == "abort") abort();
    if (how == "throw") throw 1;
    if (how == "null") raise(SIGSEGV);
    if (how == "memory") { vector<string> v; for (;;) v.push_back(string(1 << 20, 'x')); }
    if (how == "exit") exit(0);
"""


@pytest.mark.parametrize(
    ("how", "verdict", "words"),
    [
        ("points", "WA", "points 0.5 half"),
        ("partly", "WA", "partially correct (40) forty"),
        ("nothing", "WA", "partially correct (0) zero"),
        ("dirt", "WA", "wrong output format dirt"),
        ("eof", "WA", "wrong output format eof"),
        ("status4", "WA", "the checker rejects the output"),
        ("silent", "WA", "the checker rejects the output"),
        ("status5", "IE", "exit status 5"),
        ("ensure", "IE", 'FAIL Condition failed: "1 + 1 == 3"'),
        ("abort", "IE", "exit status -6"),
        ("throw", "IE", "exit status -6"),
        ("null", "IE", "exit status -11"),
        ("memory", "IE", "bad_alloc"),
        ("exit", "IE", "FAIL Checker must end with quit or quitf call."),
        ("return", "IE", "FAIL Checker must end with quit or quitf call."),
    ],
)
def test_every_ending_of_a_checker(sandbox: Sandbox, how: str, verdict: str, words: str) -> None:
    source = "#include <csignal>\n" + program(ENDINGS)
    report = judge(sandbox, source, "", "", how)
    assert report.verdict == verdict, report
    assert words in report.message


COUNTED = """
    int n = ouf.readInt();
    vector<int> found(n);
    for (int &one : found) one = ouf.readInt();
    if (n == 3) quitf(_ok, "three");
    quitf(_wa, "not three");
"""


@pytest.mark.parametrize("printed", ["-1", "2000000000"])
def test_an_output_that_a_checker_crashes_on_is_wrong(sandbox: Sandbox, printed: str) -> None:
    """If it does not crash on the answer: else programs would do well to print such things."""
    report = judge(sandbox, program(COUNTED), printed, "3 1 2 3", "")
    assert report.verdict is Verdict.WA
    assert report.message == "the checker cannot read the output (exit status -6)"
    report = judge(sandbox, program(COUNTED), printed, "-1", "")
    assert report.verdict is Verdict.IE


@pytest.mark.slow
def test_an_endless_checker_is_ended(sandbox: Sandbox) -> None:
    report = judge(sandbox, program("for (volatile int i = 0;; ) i = i + 1;"), "")
    assert report.verdict is Verdict.IE
    assert "the checker failed (cpu)" in report.message


def test_a_checker_that_does_not_compile_says_nothing_about_the_program(sandbox: Sandbox) -> None:
    report = sandbox.judge(
        "print(1)",
        [Test("", "1"), Test("", "1")],
        checker="testlib",
        checker_source=program("int x = nonsense;"),
    )
    assert [t.verdict for t in report.tests] == ["IE", "IE"]
    assert "the checker does not compile: " in report.tests[0].message
    assert "nonsense" in report.tests[0].message


def test_checkers_without_testlib_follow_the_same_protocol(sandbox: Sandbox) -> None:
    source = (
        "#include <fstream>\n"
        "#include <string>\n"
        "int main(int argc, char** argv) {\n"
        "    std::string a, b;\n"
        "    std::ifstream(argv[2]) >> a;\n"
        "    std::ifstream(argv[3]) >> b;\n"
        "    return argc == 4 && a == b ? 0 : 1;\n"
        "}\n"
    )
    assert judge(sandbox, source, "x", "x").verdict is Verdict.AC
    assert judge(sandbox, source, "y", "x").verdict is Verdict.WA


@pytest.mark.parametrize("name", ["Gen", "Validation", "Interaction"])
def test_other_kinds_of_programs_are_refused_in_words(sandbox: Sandbox, name: str) -> None:
    arguments = "argc, argv, 1" if name == "Gen" else "argc, argv"
    source = program("").replace("registerTestlibCmd(argc, argv)", f"register{name}({arguments})")
    report = judge(sandbox, source, "")
    assert report.verdict is Verdict.IE
    assert f"register{name}: this testlib.h serves checkers only" in report.message


def test_programs_that_fail_never_reach_the_checker(sandbox: Sandbox) -> None:
    accepts = program('quitf(_ok, "all is well");')
    tests = [Test("", "")]
    report = sandbox.judge("1 / 0", tests, checker="testlib", checker_source=accepts)
    assert report.verdict is Verdict.RE
    report = sandbox.judge("x = = 1", tests, checker="testlib", checker_source=accepts)
    assert report.verdict is Verdict.CE


def test_large_output(sandbox: Sandbox) -> None:
    numbers = " ".join(str(i % 1000) for i in range(1_300_000))
    assert len(numbers) > 5_000_000
    source = "print(*[i % 1000 for i in range(1300000)])"
    last = numbers[:-1] + "8"
    report = sandbox.judge(
        source,
        [Test("", numbers), Test("", last)],
        limits=Limits(output_kb=8192),
        checker="testlib",
        checker_source=NUMBERS,
    )
    assert [t.verdict for t in report.tests] == ["AC", "WA"], report.tests[1].message
    assert "expected '998', but found '999'" in report.tests[1].message


def test_the_header_reads_all_that_it_promises(sandbox: Sandbox) -> None:
    body = r"""
    auto expect = [](bool good, const char* what) { ensuref(good, "%s", what); };
    expect(ouf.readInts(3) == vector<int>({1, 2, 3}), "ints");
    expect(ouf.readLong(-5, 5, "x") == -5, "long");
    expect(ouf.readUnsignedLong() == 18446744073709551615ULL, "unsigned");
    expect(ouf.readStrictDouble(0, 9, 1, 3) == 1.25, "strict double");
    expect(ouf.readToken("[a-z]{1,4}|[0-9]+") == "abcd", "pattern");
    expect(ouf.seekEoln(), "end of line");
    expect(ouf.readLine() == " two words ", "line");
    expect(ouf.curChar() == 'x' && ouf.nextChar() == 'x', "char");
    expect(ouf.readSpace() == ' ' && ouf.readChar('y') == 'y', "space");
    ouf.unreadChar('z');
    expect(ouf.readWord("z|y") == "z", "unread");
    ouf.readEoln();
    vector<string> rest = ouf.readLines(2);
    expect(rest[0] == "p" && rest[1] == "q" && ouf.eof(), "lines");
    ouf.readEof();
    expect(pattern("-?[1-9][0-9]{0,5}|0").matches("-120000"), "matches");
    expect(!pattern("-?[1-9][0-9]{0,5}|0").matches("-012"), "does not match");
    expect(pattern("a*a(b|cd)+").matches("aacdb") && !pattern("a.c").matches("abc"), "regex");
    expect(pattern("[^a-c\\]]{2,}").matches("xyz"), "inverse set");
    expect(pattern("a b[c ]+\\ d").matches("abcc d"), "spaces in patterns");
    expect(split("a,,b", ',').size() == 3 && tokenize("a,,b", ',').size() == 2, "split");
    expect(join(vector<int>({1, 2}), "; ") == "1; 2" && trim(" a\n") == "a", "join");
    expect(lowerCase("aBC") + upperCase("aBC") == "abcABC", "case");
    expect(englishEnding(11) + englishEnding(22) + format("%03d", 7) == "thnd007", "format");
    expect(doubleCompare(1e9, 1e9 + 100, 1e-6) && !doubleCompare(1, 1.1, 1e-6), "doubles");
    expect(doubleCompare(NAN, NAN, 1e-6) && !doubleCompare(1, NAN, 1e-6), "nan");
    vector<int> order = rnd.perm(50);
    shuffle(order.begin(), order.end());
    sort(order.begin(), order.end());
    expect(order.front() == 0 && order.back() == 49, "permutation");
    for (int i = 0; i < 1000; i++) {
        int one = rnd.next(10), two = rnd.next(-3, 3);
        expect(0 <= one && one < 10 && -3 <= two && two <= 3 && rnd.next() < 1, "random");
    }
    setTestCase(3);
    quitf(_wa, "all read");
    """
    printed = "1 2 3 -5 18446744073709551615 1.25 abcd \r\n two words \nx yyz\np\r\nq"
    printed = printed.replace("x yyz", "x y")
    report = judge(sandbox, program(body), printed)
    assert (report.verdict, report.message) == (Verdict.WA, "wrong answer all read (test case 3)")


def test_another_header_can_be_named(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = '#include "testlib.h"\nint main() { return ANSWER; }\n'
    header = tmp_path / "testlib.h"
    for answer, verdict in ((0, "AC"), (1, "WA")):
        header.write_text(f"#define ANSWER {answer}\n")
        monkeypatch.setenv("RLEF_TESTLIB_H", str(header))
        with Sandbox(workers=1) as own:
            assert judge(own, source, "").verdict == verdict
    monkeypatch.setenv("RLEF_TESTLIB_H", str(tmp_path / "missing.h"))
    with pytest.raises(CheckerError, match="cannot be read: No such file"):
        header_bytes()
    with Sandbox(workers=1) as own:
        report = judge(own, source, "")
    assert report.verdict is Verdict.IE
    assert "RLEF_TESTLIB_H" in report.message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"checker": "testlib"}, "needs checker_source"),
        ({"checker_source": TOKENS}, "no other checker takes it"),
        ({"checker": "lines", "checker_source": TOKENS}, "no other checker takes it"),
        (
            {
                "checker": "testlib",
                "checker_source": TOKENS,
                "mode": "function",
                "entry_point": "f",
            },
            "not what a function returns",
        ),
    ],
)
def test_wrong_use_is_named(sandbox: Sandbox, arguments: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sandbox.judge("", [Test("", "")], **arguments)  # type: ignore[arg-type]
