"""C++ programs: verdicts, messages, the cache of binaries, hostile sources."""

import sys
import time
from pathlib import Path

import pytest

from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, Sandbox, SandboxError, TestReport, Verdict, build
from rlef.sandbox.build import COMPILE_LIMITS
from rlef.sandbox.isolation import choose_isolation
from rlef.sandbox.worker import Worker

QUICK = Limits(cpu_s=0.5, memory_mb=128, output_kb=64)
MESSAGE_BYTES = 4096
COMPILE_S = 25.0
"""Time in which any source compiles or is given up."""


def run(box: Sandbox, source: str, given: str = "", wanted: str = "ok") -> TestReport:
    tests = [Test(given, wanted)]
    return box.judge(source, tests, language="cpp", limits=QUICK).tests[0]


def main(body: str, *headers: str) -> str:
    lines = [f"#include <{header}>" for header in ("cstdio", *headers)]
    return "\n".join([*lines, "int main() {", body, "}", ""])


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        (main('puts("ok");'), "AC"),
        (main('puts("ok"); return 0;'), "AC"),
        (main('fputs("ok", stdout); exit(0);', "cstdlib"), "AC"),
        (main('puts("ok"); return 256;'), "AC"),
        (main('puts("no");'), "WA"),
        (main(""), "WA"),
        (main('fputs("ok", stdout); _exit(0);', "unistd.h"), "WA"),
        (main('puts("ok"); return 1;'), "RE"),
        (main('puts("ok"); return -1;'), "RE"),
        (main('puts("ok"); exit(42);', "cstdlib"), "RE"),
        (main('puts("ok"); fflush(stdout); abort();', "cstdlib"), "RE"),
        (main('puts("ok"); fflush(stdout); *(volatile int*)8 = 1;'), "RE"),
        (main("volatile int zero = 0, one = 1; return one / zero;"), "RE"),
        (main('throw std::runtime_error("bad luck");', "stdexcept"), "RE"),
        (main("std::vector<int>(3).at(5);", "vector"), "RE"),
        (main("for (volatile int i = 0;; ) i = i + 1;"), "TLE"),
        (main("sleep(99);", "unistd.h"), "TLE"),
        (main('for (;;) puts("spam spam spam");'), "OLE"),
        (main("char* volatile p = new char[1L << 40]; p[5] = 1;"), "MLE"),
        (main("std::vector<long> v; for (;;) v.push_back(1);", "vector"), "MLE"),
        (main("std::vector<int> v(1L << 62);", "vector"), "RE"),
        ("static volatile char big[1 << 30];\n" + main("big[1 << 29] = 1;"), "RE"),
        ("int main() { return 0 }", "CE"),
        ("", "CE"),
        ("int f() { return 1; }", "CE"),
        ("int main() {} \ud800", "CE"),
        ("print('ok')", "CE"),
    ],
)
def test_each_ending_has_its_verdict(sandbox: Sandbox, source: str, verdict: str) -> None:
    report = run(sandbox, source)
    assert report.verdict == verdict, report
    assert report.message or verdict == "AC"


def test_endless_recursion_ends_at_the_limit_of_memory(sandbox: Sandbox) -> None:
    source = "int f(int n) { volatile int m = n; return n ? f(n + 1) + m : 0; }\n"
    assert run(sandbox, source + main("return f(1);")).verdict in (Verdict.RE, Verdict.MLE)


def test_messages_tell_how_the_program_ended(sandbox: Sandbox) -> None:
    assert "exit status 42" in run(sandbox, main("return 42;")).message
    assert "signal SIGSEGV" in run(sandbox, main("*(volatile int*)8 = 1;")).message
    assert (
        "signal SIGFPE"
        in run(sandbox, main("volatile int zero = 0, one = 1; return one / zero;")).message
    )
    thrown = run(sandbox, main('throw std::runtime_error("bad luck");', "stdexcept"))
    assert "signal SIGABRT" in thrown.message
    assert "what():  bad luck" in thrown.message
    memory = run(sandbox, main("char* volatile p = new char[1L << 40]; p[5] = 1;"))
    assert memory.message == "used more than the limit of 128 MB of memory"
    assert run(sandbox, main('puts("3 4 6");'), "", "3 4 5").message == (
        "token 3: expected '5', got '6'"
    )


def test_the_first_error_of_the_compiler_comes_with_its_line(sandbox: Sandbox) -> None:
    source = "#include <cstdio>\n\nint main() {\n    int x = nonsense;\n    return y;\n}\n"
    report = sandbox.judge(source, [Test("", ""), Test("1", "")], language="cpp")
    assert [t.verdict for t in report.tests] == ["CE", "CE"]
    message = report.tests[0].message
    errors = [line for line in message.splitlines() if "error:" in line]
    assert errors[0].startswith("solution.cpp:4:13: error: ") and "nonsense" in errors[0]
    assert errors[1].startswith("solution.cpp:5:12: error: ")
    assert "\x1b" not in message and "/box" not in message
    many = run(sandbox, "int main() {" + "".join(f"x{i};" for i in range(999)) + "}")
    assert many.verdict is Verdict.CE and len(many.message) <= MESSAGE_BYTES


def test_warnings_are_no_errors(sandbox: Sandbox) -> None:
    source = '#warning "careful"\n' + main('char s[9]; gets_s: puts("ok");')
    assert run(sandbox, source).verdict is Verdict.AC


def test_the_language_is_cpp17_with_the_usual_header(sandbox: Sandbox) -> None:
    source = (
        "#include <bits/stdc++.h>\n"
        "#include <ext/pb_ds/assoc_container.hpp>\n"
        "using namespace std;\n"
        "template <class T> using ordered = __gnu_pbds::tree<T, __gnu_pbds::null_type, less<T>,\n"
        "    __gnu_pbds::rb_tree_tag, __gnu_pbds::tree_order_statistics_node_update>;\n"
        "int main() {\n"
        "    ordered<int> set;\n"
        '    map<string, int> seen{{"a", 1}};\n'
        "    for (auto [key, value] : seen) set.insert(value);\n"
        "    optional<int> best = *set.find_by_order(0);\n"
        "    if (__int128 wide = 1; best) cout << (long long)(wide << 40) << ' ' << __cplusplus;\n"
        "}\n"
    )
    assert run(sandbox, source, "", "1099511627776 201703").verdict is Verdict.AC


def test_deep_recursion_is_no_error(sandbox: Sandbox) -> None:
    source = (
        "#include <cstdio>\n"
        "long sum(long n) { volatile long here = n; return n ? sum(n - 1) + here : 0; }\n"
        'int main() { printf("%ld", sum(1000000)); }\n'
    )
    report = run(sandbox, source, "", "500000500000")
    assert report.verdict is Verdict.AC, report


def test_large_input_and_threads_are_fast(sandbox: Sandbox) -> None:
    numbers = [(i * 7919) % 100_003 for i in range(100_000)]
    source = main(
        'std::vector<int> v; for (int x; scanf("%d", &x) == 1;) v.push_back(x);'
        "std::thread([&] { std::sort(v.begin(), v.end()); }).join();"
        'for (int x : v) printf("%d\\n", x);',
        "algorithm",
        "thread",
        "vector",
    )
    given, wanted = " ".join(map(str, numbers)), " ".join(map(str, sorted(numbers)))
    limits = Limits(cpu_s=2, memory_mb=256, output_kb=4096)
    report = sandbox.judge(source, [Test(given, wanted)] * 3, language="cpp", limits=limits)
    assert report.passed, report.tests[0].message
    assert min(t.cpu_s for t in report.tests) < 0.2


def test_programs_have_no_arguments_environment_or_files(sandbox: Sandbox) -> None:
    source = (
        "#include <cstdio>\n#include <cstdlib>\n#include <fcntl.h>\n#include <unistd.h>\n"
        "int main(int argc, char** argv, char** environment) {\n"
        "    int files = 0, names = 0;\n"
        "    for (int i = 4; i < 64; i++) files += fcntl(i, F_GETFD) != -1;\n"
        '    const char* paths[] = {"/etc/passwd", "/proc/self/maps", "/box", "/work", "/home"};\n'
        "    for (const char* path : paths) names += access(path, F_OK) == 0;\n"
        '    printf("%d %d %d %d", argc, files, names, getenv("HOME") != nullptr);\n'
        "}\n"
    )
    report = run(sandbox, source, "", "1 0 0 0")
    assert report.verdict is Verdict.AC, report


def test_one_jail_runs_many_programs() -> None:
    source = main('puts("ok");')
    with Sandbox(workers=1) as own:
        assert run(own, source).verdict is Verdict.AC
        first = children(own.judge_pid())
        for i in range(80):
            assert run(own, source, str(i)).verdict is Verdict.AC
        assert children(own.judge_pid()) == first


def children(pid: int | None) -> set[str]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {child for path in tasks for child in path.read_text().split()}


def stored(folder: Path) -> dict[str, float]:
    files = (folder / "rlef" / "binaries").glob("*")
    return {path.name: path.stat().st_mtime_ns for path in files}


def test_equal_sources_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = main('int n; scanf("%d", &n); printf("%d", 2 * n);')
    with Sandbox(workers=1) as own:
        assert run(own, source, "1", "2").verdict is Verdict.AC
        first = stored(tmp_path)
        assert len(first) == 1
        assert run(own, source, "2", "4").verdict is Verdict.AC
    with Sandbox(workers=1) as other:
        assert run(other, source, "3", "6").verdict is Verdict.AC
        assert len(children(other.judge_pid())) == 1  # a jail to compile in would be the second
        assert stored(tmp_path) == first
        assert run(other, source + " ", "3", "6").verdict is Verdict.AC
        assert len(stored(tmp_path)) == 2
        assert run(other, "int main() { return x; }").verdict is Verdict.CE
        assert len(stored(tmp_path)) == 2


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\necho no\n"])
def test_a_broken_binary_is_replaced(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = main('puts("ok");')
    with Sandbox(workers=1) as own:
        assert run(own, source, "1").verdict is Verdict.AC
        (binary,) = (tmp_path / "rlef" / "binaries").iterdir()
        binary.write_bytes(content)
        report = run(own, source, "2")
        assert report.verdict is Verdict.AC, report


def test_a_cache_that_cannot_be_written_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    with Sandbox(workers=1) as own:
        assert run(own, main('puts("ok");')).verdict is Verdict.AC


def test_a_user_without_a_home_keeps_no_binaries(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert build.cache_folder() is None
    worker = Worker(choose_isolation()[0])
    job = JudgeJob(source="int main() {} // homeless", tests=(Test("", ""),), language="cpp")
    assert worker.judge(job).passed
    worker.close()


def test_without_a_compiler_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    job = JudgeJob(source="int main() {}", tests=(Test("", ""),), language="cpp")
    with Sandbox(workers=1) as own:
        with pytest.raises(SandboxError, match=r"'cpp' needs g\+\+, which is not inst") as caught:
            own.judge_many([job])
        assert "\n" not in str(caught.value)
        assert own.judge("print(1)", [Test("", "1")]).passed
        with pytest.raises(SandboxError, match="not installed"):
            own.judge("", [Test("", "")], checker="testlib", checker_source="int main() {}")


INCLUDES = [
    "/etc/passwd",
    "/etc/shadow",
    "/proc/self/environ",
    "/proc/1/environ",
    __file__,
    str(Path(sys.prefix) / "pyvenv.cfg"),
    str(build.__file__),
    "../etc/passwd",
    "../proc/self/maps",
    "/box/../etc/hostname",
]


@pytest.mark.parametrize("path", INCLUDES)
@pytest.mark.parametrize("how", ["include", "incbin"])
def test_no_file_of_the_machine_can_be_included(sandbox: Sandbox, path: str, how: str) -> None:
    if how == "include":
        source = f'#include "{path}"\nint main() {{}}\n'
    else:
        source = f'asm(".incbin \\"{path}\\"");\nint main() {{}}\n'
    report = run(sandbox, source)
    assert report.verdict is Verdict.CE, report
    assert "No such file" in report.message or "file not found" in report.message
    for secret in ("root:", "PATH=", "import pytest", "CompilerMissing"):
        assert secret not in report.message


def test_programs_know_that_they_are_judged(sandbox: Sandbox) -> None:
    source = (
        "#include <cstdio>\n#include <cstdlib>\nint main() {\n#ifndef ONLINE_JUDGE\n"
        '    freopen("in.txt", "r", stdin);\n#endif\n    int n = 0;\n    scanf("%d", &n);\n'
        '    printf("%d", getenv("ONLINE_JUDGE") ? 2 * n : 0);\n}\n'
    )
    assert sandbox.judge(source, [Test("3", "6")], language="cpp").passed


BOMBS = {
    "template recursion": (
        "template <int N> struct A { typename A<N + 1>::T t; };\n"
        "template <int N> struct B { typename B<2 * N>::T a; typename B<2 * N + 1>::T b; };\n"
        "int main() { A<0> a; B<1> b; }\n"
    ),
    "template width": (
        "template <class A, class B> struct P {};\n"
        "template <int N, class T> struct F { using X = typename F<N - 1, P<T, T>>::X;\n"
        "    using Y = typename F<N - 1, P<T, X>>::X; };\n"
        "template <class T> struct F<0, T> { using X = T; };\n"
        "int main() { F<99, int>::Y x; return sizeof x; }\n"
    ),
    "constexpr": (
        "constexpr unsigned long f(unsigned long n) { unsigned long s = 0;\n"
        "    for (unsigned long i = 0; i < n; i++) for (unsigned long j = 0; j < n; j++)\n"
        "        s += i ^ j;\n"
        "    return s; }\n"
        '#pragma GCC optimize("O3")\n'
        "template <unsigned long N> struct S { static constexpr unsigned long v = "
        "f(4000) + S<N - 1>::v; };\n"
        "template <> struct S<0> { static constexpr unsigned long v = 0; };\n"
        "int main() { return S<800>::v; }\n"
    ),
    "endless include": '#include "/dev/zero"\nint main() {}\n',
    "random include": '#include "/dev/urandom"\nint main() {}\n',
    "itself": "#include __FILE__\n#include __FILE__\nint main() {}\n",
    "macros": (
        "#define A0 x x x x x x x x x x\n"
        + "".join(f"#define A{i} {' '.join([f'A{i - 1}'] * 10)}\n" for i in range(1, 12))
        + "int main() { A11 }\n"
    ),
    "huge initialised array": "int big[1 << 29] = {1};\nint main() { return big[5]; }\n",
    "huge assembly": 'asm(".fill 0x7fffffff, 8, 1");\nint main() {}\n',
    "endless assembly": 'asm(".rept 1000000000\\n.quad 1\\n.endr");\nint main() {}\n',
    "device in assembly": 'asm(".incbin \\"/dev/zero\\"");\nint main() {}\n',
    "nesting": "int main() { return " + "(" * 200_000 + "0" + ")" * 200_000 + "; }\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_compiling_ends_in_time(sandbox: Sandbox, name: str) -> None:
    start = time.monotonic()
    report = run(sandbox, BOMBS[name])
    assert time.monotonic() - start < COMPILE_LIMITS.wall_s  # other tests may run beside this one
    assert report.verdict in (Verdict.CE, Verdict.RE, Verdict.MLE, Verdict.WA), report
    assert len(report.message) <= MESSAGE_BYTES
    assert run(sandbox, main(f'puts("ok");  // {name}\n')).verdict is Verdict.AC  # compiled anew
