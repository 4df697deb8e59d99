"""JavaScript by Node.js, as a CommonJS module."""

import re

from rlef.languages.types import Language

_START = """
const fs = require("fs"), vm = require("vm"), Module = require("module");
const size = fs.fstatSync(4).size, bytes = Buffer.alloc(size);
for (let at = 0, n; at < size && (n = fs.readSync(4, bytes, at, size - at, at)) > 0; at += n);
fs.closeSync(4);
const source = bytes.toString();
const names = ["exports", "require", "module", "__filename", "__dirname"];
vm.compileFunction(source, names, {filename: "solution.js"});
fs.writeSync(3, "r");
fs.closeSync(3);
const main = new Module(".", null);
main.filename = "/solution.js";
process.mainModule = main;
process.argv.length = 1;
process.argv.push("solution.js");
for (const name of ["readFileSync", "readFile", "openSync", "createReadStream"]) {
    const real = fs[name];
    fs[name] = name == "createReadStream"
        ? (path, ...rest) => path === "/dev/stdin" ? process.stdin : real(path, ...rest)
        : (path, ...rest) => path !== "/dev/stdin" ? real(path, ...rest)
            : name == "openSync" ? 0 : real(0, ...rest);
}
const later = fs.promises.readFile;
fs.promises.readFile = (path, ...rest) => path !== "/dev/stdin" ? later(path, ...rest)
    : new Promise((yes, no) => fs.readFile(0, ...rest, (e, data) => e ? no(e) : yes(data)));
main._compile(source, "solution.js");
"""
"""Compiles the program, says so, runs it. ``/dev/stdin``, which would need ``/proc``, is read."""

LANGUAGE = Language(
    name="javascript",
    title="JavaScript",
    suffixes=(".js", ".cjs"),
    tags=re.compile(r"javascript|js|node(?:js)?|cjs|jsx|.*\.c?js"),
    failing='throw new Error("not implemented");\n',
    interpreter="node",
    address_mb=(704, 1024, 1536, 3072),
    source_name="solution.js",
    flags=(
        *("--single-threaded", "--v8-pool-size=0", "--max-old-space-size={memory_mb}"),
        *("--random-seed=1", "--stack-size=62000", "--no-warnings", "-e", _START),
    ),
    memory_signs=(b"JavaScript heap out of memory", b"Fatal process OOM", b"Array buffer alloc"),
    replaced=((re.compile(r"\n(?: +at .*|Node\.js v.*|)(?=\n|\Z)"), ""),),
    main=re.compile(r"\b(?:readFileSync|readline|stdin)\b"),
    parts=(re.compile(r"\bconsole\.log|\bstdout\b"), re.compile(r"\brequire\b")),
)
