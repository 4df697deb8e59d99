"""JavaScript by Node.js: how programs read, what messages say, what the judge needs of Node.js."""

from dataclasses import replace
from pathlib import Path

import pytest

from rlef.languages import LANGUAGES
from rlef.problems import Test
from rlef.sandbox import JudgeJob, Limits, Sandbox, SandboxError, Verdict, worker
from rlef.sandbox.build import can_run
from rlef.sandbox.isolation import choose_isolation
from rlef.sandbox.jail import IsolationError
from rlef.sandbox.worker import Worker

NODE = LANGUAGES["javascript"]
needs_node = pytest.mark.skipif(not can_run(NODE), reason="needs node")
LIMITS = Limits(cpu_s=5.0, memory_mb=128, output_kb=4096)
READ = {
    "descriptor": "const s = require('fs').readFileSync(0, 'utf8');\nshow(s);",
    "device": "const s = require('node:fs').readFileSync('/dev/stdin').toString();\nshow(s);",
    "opened": "const fs = require('fs');\nshow(fs.readFileSync(fs.openSync('/dev/stdin', 'r')));",
    "stream": "let s = '';\nprocess.stdin.on('data', d => s += d).on('end', () => show(s));",
    "device-stream": "let s = '';\nrequire('fs').createReadStream('/dev/stdin')"
    ".on('data', d => s += d).on('end', () => show(s));",
    "device-callback": "require('fs').readFile('/dev/stdin', 'utf8', (e, s) => show(s));",
    "device-promise": "require('fs/promises').readFile('/dev/stdin').then(show);",
    "lines": "const r = require('readline').createInterface({input: process.stdin});\nlet s = '';\n"
    "r.on('line', l => s += l + ' ').on('close', () => show(s));",
    "await": "(async () => {\n    let s = '';\n    for await (const l of require('readline')"
    ".createInterface({input: process.stdin})) s += l + ' ';\n    show(s);\n})();",
    "main": "if (require.main === module) show(require('fs').readFileSync(0));\n"
    "else show('0');\nreturn;",
}
SHOW = (
    "\nfunction show(s) {\n    const a = String(s).split(/\\s+/).filter(Boolean).map(Number);\n"
    "    console.log(a.sort((x, y) => x - y).join('\\n'));\n}\n"
)


@needs_node
@pytest.mark.parametrize("way", READ)
def test_programs_read_in_all_the_usual_ways(sandbox: Sandbox, way: str) -> None:
    numbers = [(i * 7919) % 20_011 for i in range(20_000)]
    given, wanted = "\n".join(map(str, numbers)), "\n".join(map(str, sorted(numbers)))
    source = SHOW + READ[way]
    tests = [Test(given, wanted), Test("3\n", "3")]
    report = sandbox.judge(source, tests, language="javascript", limits=LIMITS)
    assert report.passed, report.tests[0].message[:500] + report.tests[1].message


@needs_node
def test_messages_show_the_place_and_end_with_the_error(sandbox: Sandbox) -> None:
    source = "// first\nfunction f(x) {\n    return x.length;\n}\nf(undefined);\n"
    report = sandbox.judge(source, [Test("", "")], language="javascript", limits=LIMITS).tests[0]
    assert report.verdict is Verdict.RE
    lines = report.message.splitlines()
    assert lines[:3] == ["ended with exit status 1", "solution.js:3", "    return x.length;"]
    assert lines[-1].startswith("TypeError: Cannot read prop") and "node:internal" in report.stderr
    source = "import fs from 'fs';\nconsole.log(1);\n"
    report = sandbox.judge(source, [Test("", "1")], language="javascript", limits=LIMITS).tests[0]
    assert report.verdict is Verdict.CE and report.message.startswith("solution.js:1\nimport fs")
    assert "SyntaxError: Cannot use import statement" in report.message.splitlines()[-1]


@needs_node
def test_equal_programs_give_equal_results(sandbox: Sandbox) -> None:
    source = "console.log(Math.random(), new Map([[1, 2]]))"
    tests = [Test(str(n), "?") for n in range(3)]
    reports = sandbox.judge(source, tests, language="javascript", limits=LIMITS).tests
    assert len({report.stdout for report in reports}) == 1


@needs_node
def test_the_memory_limit_is_that_of_the_program(sandbox: Sandbox) -> None:
    source = "const b = Buffer.alloc(%d << 20, 1);\nconsole.log(b.length >> 20)"
    limits = replace(LIMITS, memory_mb=256)
    for size, verdict in ((200, "AC"), (300, "MLE")):
        tests = [Test("", str(size))]
        report = sandbox.judge(source % size, tests, language="javascript", limits=limits)
        assert report.verdict == verdict, report


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "language 'javascript' needs node, which is not installed"),
        (
            b"#!/bin/sh\nexec other-node\n",
            "language 'javascript' needs node itself; {path} is a",
        ),
        ("/bin/false", "language 'javascript' needs node, which is there but does not start in a"),
    ],
)
def test_without_node_one_line_says_so(
    text: bytes | str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "node"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else Path(text).read_bytes())
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with Sandbox(workers=1) as own:
        with pytest.raises(SandboxError) as caught:
            own.judge("console.log(1)", [Test("", "1")], language="javascript")
        assert str(caught.value).startswith(words.format(path=path))
        assert "\n" not in str(caught.value)
        assert own.judge("print(1)", [Test("", "1")]).passed


@needs_node
def test_what_node_takes_for_itself_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = worker.addresses
    monkeypatch.setattr(worker, "addresses", lambda *words: asked.append(1) or real(*words))
    own = Worker(choose_isolation()[0])
    for n in range(2):
        job = JudgeJob(source=f"console.log({n})", tests=(Test("", str(n)),), language=NODE.name)
        assert own.judge(job).passed
    own.close()
    assert asked == [1]


@needs_node
def test_without_a_compiled_hot_path_it_is_the_same() -> None:
    own = Worker(replace(choose_isolation()[0], native=None))
    tests = (Test("2", "4"), Test("3", "6"), Test("x", "NaN"))
    source = "console.log(2 * require('fs').readFileSync(0, 'utf8'))"
    assert own.judge(JudgeJob(source=source, tests=tests, language=NODE.name)).passed
    own.close()


@needs_node
def test_without_namespaces_there_is_no_node() -> None:
    own = Worker(replace(choose_isolation()[0], isolation="none"))
    job = JudgeJob(source="", tests=(Test("", ""),), language=NODE.name)
    with pytest.raises(IsolationError, match="'javascript' needs user namespaces"):
        own.judge(job)
    own.close()


def test_functions_are_refused_in_one_line(sandbox: Sandbox) -> None:
    words = "mode 'function' is not possible in language 'javascript'"
    with pytest.raises(ValueError, match=words):
        sandbox.judge("", [Test("[]", "1")], language=NODE.name, mode="function", entry_point="f")
