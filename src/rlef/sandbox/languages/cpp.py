"""C++17 by g++."""

from rlef.sandbox.languages.types import Language

LANGUAGE = Language(
    name="cpp",
    compiler="g++",
    source_name="solution.cpp",
    flags=(
        *("-std=c++17", "-O2", "-pipe", "-w", "-fmax-errors=5", "-fdiagnostics-color=never"),
        "-DONLINE_JUDGE",  # as Codeforces, AtCoder, UVa and HUSTOJ
    ),
    static_flags=("-static",),
    memory_signs=(b"std::bad_alloc", b"std::bad_array_new_length"),
)
