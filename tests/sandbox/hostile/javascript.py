"""JavaScript: hostile programs of an interpreter that compiles as it runs and has threads."""

from hostile.case import AC, CE, EASY, LOOP, OLE, RE, TLE, WA, Hostile, Limits

QUICK = Limits(cpu_s=2.0, memory_mb=128, output_kb=64)
MEMORY = Limits(cpu_s=10.0, memory_mb=64, output_kb=64)
SLEEP = Limits(cpu_s=2.0, memory_mb=128, output_kb=64, idle_s=0.5)


def run(
    name: str, attack: str, source: str, expectation: str, verdicts: tuple[str, ...],
    limits: Limits = QUICK, says: str = "", given: str = "", tests: int = 1,
) -> Hostile:  # fmt: skip
    return Hostile(
        name, attack, source, expectation, verdicts, given, says=says, limits=limits,
        language="javascript", tests=tests,
    )  # fmt: skip


def fails(name: str, attack: str, body: str, expectation: str, says: str = "") -> Hostile:
    """A program that prints ``broke out`` if what it tries works."""
    return run(name, attack, f"{body}\nconsole.log('broke out');", expectation, RE, says=says)


CASES = (
    run("answer", "the right answer", "console.log('ok')", "accepted", AC, EASY),
    run("wrong", "a wrong answer", "console.log('no')", "a wrong answer", WA),
    run("exit-status", "exit status 3", "console.log('ok'); process.exit(3)", "not exit status 0",
        RE, says="exit status 3"),
    run("exit-code", "an exit status set on the way", "process.exitCode = 5; console.log('ok')",
        "not exit status 0", RE),
    run("uncaught", "an uncaught error", "console.log('ok');\nthrow new Error('bad luck')",
        "exit status 1, with the line", RE, says="solution.js:2"),
    run("rejected", "a promise that nobody looks at",
        "console.log('ok'); Promise.reject(new Error('bad luck'))", "exit status 1", RE,
        says="bad luck"),
    run("abort", "aborts after the answer", "console.log('ok'); process.abort()",
        "died of SIGABRT", RE, says="SIGABRT"),
    run("not-javascript", "C++ for JavaScript", "int main() { return 0; }", "does not compile",
        CE, says="SyntaxError"),
    run("module", "asks for a package", "require('lodash'); console.log('ok')", "there is none",
        RE, says="Cannot find module"),
    run("empty", "an empty program", "", "prints nothing", WA),
    run("said-compiled", "says to the judge that it compiles, in an error of compiling",
        "require('fs').writeSync(3, 'r');\nlet let = ;", "does not compile", CE),
    run("memory", "arrays without an end",
        "const a = []; for (;;) a.push(new Array(1000).fill(1))", "the heap ends", ("MLE",),
        MEMORY),
    run("memory-buffers", "buffers without an end",
        "const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1))", "no addresses left",
        ("MLE",), MEMORY),
    run("memory-text", "a text that doubles",
        "let s = 'x'; const a = []; for (;;) { s += s; a.push(Buffer.from(s)); }",
        "too long, or no memory", ("MLE", "RE"), MEMORY),
    run("memory-shared", "shared memory without an end",
        "const a = []; for (;;) { const b = new Uint8Array(new SharedArrayBuffer(1 << 20)); "
        "b.fill(1); a.push(b); }", "no addresses left", ("MLE", "RE"), MEMORY),
    run("stack", "recursion without an end", "const f = n => 1 + f(n + 1); f(0)",
        "the stack ends: RangeError", RE, says="Maximum call stack"),
    run("deep-stack", "100,000 calls deep", "const f = n => n ? 1 + f(n - 1) : 0;\n"
        "console.log(f(100000) === 100000 ? 'ok' : 'no')", "accepted", AC, EASY),
    run("loop", "an endless loop", "for (;;);", "CPU limit", TLE, LOOP),
    run("loop-promises", "promises without an end",
        "const f = () => Promise.resolve().then(f); f()", "CPU limit", TLE, LOOP),
    run("loop-pattern", "a pattern that takes for ever",
        "/^(a+)+$/.test('a'.repeat(99) + 'b')", "CPU limit", TLE, LOOP),
    run("sleep", "waits for a timer", "setTimeout(() => console.log('ok'), 99000)", "idle limit",
        TLE, SLEEP),
    run("sleep-atomics", "waits for a word of memory",
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)", "idle limit", TLE, SLEEP),
    run("output", "prints without an end", "for (;;) console.log('xxxxxxxx')", "output limit",
        OLE),
    run("output-raw", "ignores what writing says",
        "const fs = require('fs'); process.on('SIGXFSZ', () => 0);\n"
        "for (;;) try { fs.writeSync(1, 'xxxxxxxx') } catch { process.exit(0) }",
        "output limit", OLE),
    fails("fork", "starts itself again", "require('child_process').fork('x')", "EPERM", "EPERM"),
    fails("shell", "runs a shell", "require('child_process').execSync('echo ok')", "EPERM",
          "EPERM"),
    run("fork-bomb", "starts processes without an end",
        "const c = require('child_process'); for (;;) c.spawn('/bin/sh').on('error', () => 0)",
        "CPU limit, or no memory left", ("TLE", "MLE", "RE"), LOOP),
    run("thread-bomb", "threads without an end",
        "const {Worker} = require('worker_threads');\n"
        "for (;;) new Worker('for (;;);', {eval: true}).on('error', () => 0)",
        "no addresses left for the first, or the CPU limit", ("MLE", "RE", "TLE")),
    fails("tcp", "connects to a server", "require('net').connect(22, '127.0.0.1')\n"
          ".on('connect', () => console.log('ok'))\nreturn", "EPERM", "EPERM"),
    fails("udp", "binds a socket", "require('dgram').createSocket('udp4').bind(0)\nreturn",
          "EPERM"),
    fails("listen", "waits for others", "require('net').createServer().listen('/tmp/x')\nreturn",
          "EPERM"),
    fails("fetch", "asks a web server", "fetch('http://127.0.0.1/').catch(e => { throw e })\n"
          "return", "no socket"),
    fails("inspector", "opens a debugger", "require('inspector').open(9229)\n"
          "if (!require('inspector').url()) process.exit(3)", "no socket"),
    run("kill", "kills everybody else",
        "for (const pid of [1, -1, process.ppid]) try { process.kill(pid, 9) } catch {}\n"
        "console.log('ok')", "nobody is hit", AC, EASY),
    fails("read", "reads files of the machine",
          "for (const p of ['/etc/passwd', '/proc/self/maps', '/proc/1/environ', '/box', "
          "'/usr/bin'])\n    try { require('fs').readdirSync(p); break } catch (e) {\n"
          "        if (p == '/usr/bin') throw e }\nif (0)", "no such file"),
    fails("write", "writes files where it can",
          "for (const p of ['/x', 'x', '/tmp/x', '/box/x', '/usr/x'])\n"
          "    try { require('fs').writeFileSync(p, 'x'); break } catch (e) {\n"
          "        if (p == '/usr/x') throw e }\nif (0)", "read-only", "EROFS"),
    run("environment", "looks at its environment and arguments",
        "console.log(Object.keys(process.env).sort().join() + process.argv.join() === "
        "'LANG,ONLINE_JUDGE,PATH,TMPDIRnode,solution.js' ? 'ok' : 'no')",
        "nothing of the machine's", AC, EASY),
    run("inherited", "looks for its own files beside 0 to 2",
        "const fs = require('fs');\nlet n = 0;\nfor (let i = 3; i < 5; i++) "
        "try { fs.fstatSync(i); n++ } catch {}\n"
        "for (let i = 3; i < 64; i++) try { n += fs.fstatSync(i).isFile() } catch {}\n"
        "console.log(n ? 'no' : 'ok')", "there are none", AC, EASY),
    run("between", "leaves something for its next test",
        "const fs = require('fs');\nconst given = fs.readFileSync(0, 'utf8');\n"
        "const left = globalThis.left ?? process.env.left ?? '';\n"
        "globalThis.left = process.env.left = 'left';\n"
        "for (const fd of [0, 3, 4]) try { fs.writeSync(fd, 'left') } catch {}\n"
        "console.log(given === 'new' && !left ? 'ok' : 'no')",
        "nothing is left", AC, EASY, given="new", tests=3),
    run("compiled", "a function that is compiled as it runs",
        "let s = 0; const f = i => (i * i) % 7; for (let i = 0; i < 1e6; i++) s += f(i);\n"
        "console.log(s > 0 ? 'ok' : 'no')", "accepted", AC, EASY),
    run("native", "loads a library as an addon",
        "process.dlopen(module, '/lib/x86_64-linux-gnu/libc.so.6'); console.log('ok')",
        "it is no addon", RE),
)  # fmt: skip
