"""Rust programs: messages, what the compiler needs; the hostile ones are in ``hostile/rust.py``."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from rlef.languages import LANGUAGES
from rlef.problems import Test
from rlef.sandbox import Limits, Sandbox, SandboxError, Verdict
from rlef.sandbox.build import Compiler, can_run, compiler
from rlef.sandbox.isolation import choose_isolation
from rlef.sandbox.jail import Jail, JailError, Program

RUST = LANGUAGES["rust"]
needs_rust = pytest.mark.skipif(not can_run(RUST), reason="needs rustc and cc")
LIMITS = Limits(cpu_s=2.0, memory_mb=128, output_kb=64)


@needs_rust
def test_messages_tell_how_the_program_ended(sandbox: Sandbox) -> None:
    source = (
        "use std::{env, io};\nfn main() {\n    let mut s = String::new();\n"
        "    io::stdin().read_line(&mut s).unwrap();\n    let n: i32 = s.trim().parse().unwrap();\n"
        "    if env::var(\"ONLINE_JUDGE\").is_ok() { println!(\"{}\", n.wrapping_mul(2)); }\n}\n"
    )  # fmt: skip
    tests = [Test("2\n", "4"), Test("x\n", "4"), Test("3\n", "5")]
    reports = sandbox.judge(source, tests, language="rust", limits=LIMITS).tests
    assert [report.verdict for report in reports] == ["AC", "RE", "WA"]
    told = reports[1].message
    assert told.startswith("ended with exit status 101\nthread 'main' panicked at ")
    assert "solution.rs:5:35" in told and "ParseIntError { kind: InvalidDigit }" in told
    assert "RUST_BACKTRACE" not in told  # nor a thread's number, which is another in each run
    assert reports[2].message == "token 1: expected '5', got '6'"


@needs_rust
def test_the_error_of_the_compiler_comes_with_its_line(sandbox: Sandbox) -> None:
    source = "#![warn(unused)]\n\nfn main() {\n    let x: i32 = nonsense;\n}\n"
    report = sandbox.judge(source, [Test("", "")] * 2, language="rust")
    assert [test.verdict for test in report.tests] == ["CE", "CE"]
    message = report.tests[0].message
    assert message.startswith("error[E0425]: cannot find value `nonsense` in this scope\n")
    assert "--> solution.rs:4:18" in message
    assert "\x1b" not in message and "/box" not in message and "warning" not in message


@needs_rust
def test_other_compilers_do_not_see_where_rust_lies(sandbox: Sandbox) -> None:
    root = compiler(RUST).root
    if not root:
        pytest.skip("it lies below /usr, which all of them see")
    file = next(path for path in Path(root).rglob("*") if path.is_file())
    report = sandbox.judge(f'#include "{file}"\nint main() {{}}\n', [Test("", "")], language="cpp")
    assert report.verdict is Verdict.CE and "No such file" in report.tests[0].message


def fake(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ({}, "language 'rust' needs rustc, which is not installed"),
        ({"rustc": "exit 0"}, "language 'rust' needs cc, which is not installed"),
        (
            {"rustc": "echo no default toolchain >&2; exit 1", "cc": ""},
            "language 'rust' needs rustc, which is there but does not say where it lies: "
            "rustc --print sysroot",
        ),
    ],
)
def test_without_what_it_needs_one_line_says_so(
    commands: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in commands.items():
        fake(tmp_path, name, text)
    monkeypatch.setenv("PATH", str(tmp_path))
    with Sandbox(workers=1) as own:
        with pytest.raises(SandboxError) as caught:
            own.judge("fn main() {}", [Test("", "")], language="rust")
        assert str(caught.value) == words
        assert own.judge("print(1)", [Test("", "1")]).passed


def test_a_compiler_is_found_by_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root/bin").mkdir(parents=True)
    fake(tmp_path / "root/bin", "mycc", "echo mycc 1.0\necho more")
    fake(tmp_path, "mycc", f'[ "$1" = --where ] && echo {tmp_path}/root')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    mine = replace(RUST, name="mine", compiler="mycc", needs=(), root_flags=("--where",))
    root = str(tmp_path / "root")
    assert compiler(mine) == Compiler(f"{root}/bin/mycc", "mycc 1.0", root)
    assert compiler(mine).jail == f"tools:{root}"


def test_a_tool_that_leaves_a_folder_is_answered_before_its_jail_ends() -> None:
    settings = choose_isolation()[0]
    if settings.isolation != "namespaces":
        pytest.skip("needs namespaces")
    jail = Jail(replace(settings, view="tools", packages=()))
    made = Program(kind="tool", argv=("/bin/mkdir", "left"))
    try:
        run = jail.run(made, b"", LIMITS)
        assert run.exit == 0, run
        with pytest.raises(JailError):
            jail.run(made, b"", LIMITS)
    finally:
        jail.close()


BOMBS = {
    "constant": "#![allow(long_running_const_eval)]\n"
    "const X: u64 = { let mut i = 0; while i < 1 << 60 { i += 1 } i };\n"
    "fn main() { println!(\"{X}\") }\n",
    "macro": "macro_rules! m { ($($t:tt)*) => { m!($($t)* $($t)*) } }\nfn main() { m!(x y); }\n",
    "device": 'static A: &[u8] = include_bytes!("/dev/zero");\nfn main() {}\n',
}  # fmt: skip


@needs_rust
@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_compiling_ends_in_time(sandbox: Sandbox, name: str) -> None:
    report = sandbox.judge(BOMBS[name], [Test("", "")], language="rust")
    assert report.verdict is Verdict.CE, report
    right = f'fn main() {{ println!("ok"); }} // {name}\n'
    assert sandbox.judge(right, [Test("", "ok")], language="rust").passed
