"""C++17 by g++."""

import re

from rlef.languages.types import Language

LANGUAGE = Language(
    name="cpp",
    title="C++",
    suffixes=(".cpp", ".cc", ".cxx", ".c++"),
    tags=re.compile(r"(?:cpp|c\+\+|cxx|cc|c|gnu\+\+)-?[\da-z]{0,2}|.*\.(?:cpp|cc|cxx|c\+\+)"),
    failing='#include <stdexcept>\nint main() { throw std::logic_error("not implemented"); }\n',
    compiler="g++",
    source_name="solution.cpp",
    flags=(
        *("-std=c++17", "-O2", "-pipe", "-w", "-fmax-errors=5", "-fdiagnostics-color=never"),
        "-DONLINE_JUDGE",  # as Codeforces, AtCoder, UVa and HUSTOJ
    ),
    static_flags=("-static",),
    memory_signs=(b"std::bad_alloc", b"std::bad_array_new_length"),
    first_error=re.compile(r"^.*: (?:fatal )?error: .*$", re.M),
    main=re.compile(r"\bmain\s*\("),
    parts=(
        re.compile(r"^[ \t]*#[ \t]*include\b|^[ \t]*import[ \t]+std\b", re.M),
        re.compile(r"\b(?:cin|stdin|scanf|getline|getchar\w*|f?gets|read|fread|ifstream)\b"),
    ),
)
