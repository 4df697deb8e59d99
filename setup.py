"""Builds what is not Python: ``rlef.sandbox._native``, C that is loaded through ctypes.

The rest is in ``pyproject.toml``. The C uses nothing of Python's, so one wheel serves all Pythons:
``py3-none-PLATFORM``, or ``py3-none-any`` where there is no compiler and Python does its work.
"""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

NATIVE = Extension(
    "rlef.sandbox._native",
    ["src/rlef/sandbox/native.c"],
    extra_compile_args=["-O2", "-Wall", "-Wextra"],
    optional=True,
)


class BuildLibrary(build_ext):
    """Names the library without this Python's version."""

    def get_ext_filename(self, fullname: str) -> str:
        """``rlef/sandbox/_native.so``."""
        return f"{Path(*fullname.split('.'))}.so"


class BuildWheel(bdist_wheel):
    """Tags the wheel by what is in it."""

    def run(self) -> None:
        """Compiles first, to know whether that works."""
        self.run_command("build")
        built = self.get_finalized_command("build_ext")
        if not Path(built.get_ext_fullpath(NATIVE.name)).is_file():
            self.distribution.ext_modules = None
            self.root_is_pure = True
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        """Any Python 3, without an ABI."""
        return "py3", "none", super().get_tag()[2]


setup(ext_modules=[NATIVE], cmdclass={"build_ext": BuildLibrary, "bdist_wheel": BuildWheel})
