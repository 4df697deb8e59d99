"""Rust by rustc, with its standard library alone."""

import re

from rlef.languages.types import Language

LANGUAGE = Language(
    name="rust",
    title="Rust",
    suffixes=(".rs",),
    tags=re.compile(r"rust|rs|.*\.rs"),
    failing="fn main() {\n    unimplemented!()\n}\n",
    compiler="rustc",
    needs=("cc",),
    root_flags=("--print", "sysroot"),
    source_name="solution.rs",
    flags=(
        *("--edition=2021", "--crate-name=solution", "--crate-type=bin", "--color=never"),
        *("-Copt-level=3", "-Ccodegen-units=1", "-Cstrip=symbols", "-Awarnings"),
        "-Clink-arg=-fuse-ld=bfd",  # the linker that newer ones bring looks for itself in /proc
    ),
    static_flags=("-Ctarget-feature=+crt-static", "-Crelocation-model=static"),
    memory_signs=(b"memory allocation of ",),
    first_error=re.compile(r"^error\b.*$", re.M),
    replaced=(
        (re.compile(r"^(thread '.*') \(\d+\)(?= panicked)", re.M), r"\1"),
        (re.compile(r"\n?^note: run with `RUST_BACKTRACE=.*$", re.M), ""),
    ),
    main=re.compile(r"\bfn\s+main\s*\("),
    parts=(
        re.compile(r"^[ \t]*(?:pub[ \t]+)?(?:use|mod|struct|enum)\b|\bstd::", re.M),
        re.compile(r"\b(?:stdin|read_line|read_to_(?:string|end))\b"),
    ),
)
