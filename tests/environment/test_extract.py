import time

import pytest

from rlef.environment import extract_program
from rlef.problems.types import Mode


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("```py\nprint(1)\n```", "print(1)\n"),
        ("```Python3\nprint(1)\n```", "print(1)\n"),
        ("```\nprint(1)\n```", "print(1)\n"),
        ("Sure:\n\n```python\na = 1\n\nprint(a)\n```\nDone.", "a = 1\n\nprint(a)\n"),
        ("```python title=x\nprint(1)\n```  ", "print(1)\n"),
        ("``` python\r\nprint(1)\r\n```\r\n", "print(1)\n"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("1. So:\n   ```python\n   if 1:\n     f()\n   ```", "if 1:\n  f()\n"),
        ("```python\ns = '\u2028'\n```", "s = '\u2028'\n"),
        ("```python\nthis is no Python (\n```", "this is no Python (\n"),
    ],
)
def test_one_block(response: str, program: str) -> None:
    assert extract_program(response) == program


@pytest.mark.parametrize(
    "response",
    [
        "",
        "print(1)",
        "Use `print(1)`.",
        "```python print(1)```",
        "```python\nprint(1)",
        "```python\nprint(1)\n``",
        "````python\nprint(1)\n```",
        "```python\n```",
        "```python\n \n\n```",
        "```text\n5\n```",
        "```cpp\nint main() {}\n```",
    ],
)
def test_no_valid_code(response: str) -> None:
    assert extract_program(response) is None


def test_the_last_complete_block_counts() -> None:
    first, second = "```python\nprint(1)\n```\n", "```python\nprint(2)\n```\n"
    assert extract_program(first + "Better:\n" + second) == "print(2)\n"
    assert extract_program(first + "Better:\n```python\nprint(") == "print(1)\n"
    assert extract_program(first + "```python\n```") == "print(1)\n"
    assert extract_program("```python\nprint(\nNo, again:\n" + second) == "print(2)\n"


def test_a_tagged_block_goes_before_sample_output_in_plain_fences() -> None:
    code, output = "```python\nprint(1)\n```\n", "It prints\n```\n1\n```\n"
    assert extract_program(code + output) == "print(1)\n"
    assert extract_program(output + code) == "print(1)\n"
    assert extract_program(output + "or\n```\n2\n```") == "2\n"


@pytest.mark.parametrize(
    "info",
    [
        *(
            "py3",
            "python3.11",
            "PYTHON",
            "{.python}",
            "{.python .numberLines}",
            "{python}",
            "pypy3",
        ),
        *("python:a.py", "solution.py", 'python title="x"', "python {1,3}", "language-python"),
        *("python\r", " python", "python,ignore"),
    ],
)
def test_tags(info: str) -> None:
    assert extract_program(f"```{info}\nprint(1)\n```") == "print(1)\n"


@pytest.mark.parametrize("info", ["pycon", "text", "bash", "json", "pyramid", "cpp", "console"])
def test_tags_of_others(info: str) -> None:
    assert extract_program(f"```{info}\nprint(1)\n```") is None


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("~~~python\nprint(1)\n~~~", "print(1)\n"),
        ("~~~~\nprint(1)\n~~~~~", "print(1)\n"),
        ("~~~python\ns = '''\n```\n'''\n~~~", "s = '''\n```\n'''\n"),
        ("```python\nprint(1)```", "print(1)\n"),
        ("```python\nprint(1) ```\nIt prints\n```\n1\n```", "print(1)\n"),
        ("```python\nx = 1  # no ```\nprint(x)\n```", "x = 1  # no ```\nprint(x)\n"),
        ("Here: ```python\nprint(1)\n```", "print(1)\n"),
        ("I put it in ```python\n```python\nprint(1)\n```", "print(1)\n"),
        ("```python\nprint(1)\n```<|im_end|>", "print(1)\n"),
        ("<answer>```python\nprint(1)\n```</answer>", "print(1)\n"),
        ("\ufeff```python\nprint(1)\n```", "print(1)\n"),
        ("```python\rprint(1)\r```", "print(1)\n"),
        ("> So:\n> ```python\n> if 1:\n>     f()\n>\n> g()\n> ```", "if 1:\n    f()\n\ng()\n"),
        ("- ```python\n  if 1:\n    f()\n  ```", "if 1:\n  f()\n"),
        ("10. ```python\n    if 1:\n      f()\n    ```", "if 1:\n  f()\n"),
        ("\t```python\n\tif 1:\n\t\tf()\n\t```", "if 1:\n\tf()\n"),
        ("  ```python\nif 1:\n  f()\n  ```", "if 1:\n  f()\n"),
        ("````python\ns = '''\n```python\n1\n```\n'''\n````", "s = '''\n```python\n1\n```\n'''\n"),
        ("````markdown\n# It\n```python\nprint(1)\n```\n````", "print(1)\n"),
        ("```md\n# It\n```python\nprint(1)\n```\n```", "print(1)\n"),
        ("```\nnever closed\n\n```python\nprint(1)\n```", "print(1)\n"),
        ("```python\ns = '\u200b\xa0“”'\n```", "s = '\u200b\xa0“”'\n"),
    ],
)
def test_fences(response: str, program: str) -> None:
    assert extract_program(response) == program


@pytest.mark.parametrize("quotes", ['"""', "'''"])
@pytest.mark.parametrize("inner", ["```", "```python", "```text"])
def test_a_fence_inside_of_a_docstring(quotes: str, inner: str) -> None:
    program = (
        f"def f(a):\n    {quotes}Use:\n    {inner}\n    f(1)\n    ```\n    {quotes}\n    return a\n"
    )
    assert extract_program(f"```python\n{program}```\nOr:\n```text\n1\n```") == program
    two = program + program.replace("f(", "g(")
    assert extract_program(f"```python\n{two}```\n", mode="function", entry_point="g") == two


def test_an_open_docstring_that_nothing_closes() -> None:
    answer = '```python\ndef f(a):\n    """Use\n```\nAgain:\n```python\nprint(1)\n```'
    assert extract_program(answer) == "print(1)\n"


THOUGHT = "Try\n```python\nwrong\n```\nNo."
ANSWER = "```python\nprint(1)\n```"


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        *(("<think>", "</think>"), ("<Thinking>", "</Thinking>"), ("<thought>", "</thought>")),
        *(("<reasoning>", "</reasoning>"), ("<seed:think>", "</seed:think>")),
        *(("<longcat_think>", "</longcat_think>"), ("[THINK]", "[/THINK]")),
        *(("◁think▷", "◁/think▷"), ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>")),
        *(("<|begin_of_thought|>", "<|end_of_thought|>"), ("<|channel>thought", "<channel|>")),
        ("<|inner_prefix|>", "<|inner_suffix|>"),
        (
            "<|channel|>analysis<|message|>",
            "<|end|><|start|>assistant<|channel|>final<|message|>",
        ),
        ("analysisWe need", "assistantfinal"),
        ("<|im_start|>think", "<|im_start|>answer"),
        ("[unused16]", "[unused17]"),
    ],
)
def test_reasoning_does_not_count(begin: str, end: str) -> None:
    for answer in (ANSWER, ANSWER.replace("python", "")):
        assert extract_program(f"{begin}\n{THOUGHT}\n{end}\n{answer}") == "print(1)\n"
        assert extract_program(f"{begin}{THOUGHT}{end}{answer}") == "print(1)\n"
        # Chat templates may have opened it, and a block in it may never end.
        assert extract_program(f"{THOUGHT}\n{end}\n\n{answer}") == "print(1)\n"
        assert extract_program(f"```python\nwrong\n{end}\n{answer}") == "print(1)\n"
        again = f"{begin}\n{THOUGHT}\n{end}\n" * 2
        assert extract_program(f"{again}{answer}") == "print(1)\n"
    assert extract_program(f"{begin}\n{THOUGHT}\n") is None
    assert extract_program(f"{begin}\n{THOUGHT}\n{end}\nThat is it.") is None
    assert extract_program(f"{ANSWER}\n{begin}\n{THOUGHT}") is None


def test_marks_in_programs_and_prose_do_not_count() -> None:
    program = "s = input().split('</think>')[0]\nprint(s, '<think>')\n"
    assert extract_program(f"I used <think> for\n```python\n{program}```") == program


F = "def f(a):\n    return a\n"


@pytest.mark.parametrize(
    "program",
    [
        F,
        F.replace("def", "async def"),
        "class f:\n    a = 1\n",
        "f = lambda a: a\n",
        "f: int = 1\n",
        "f = g = print\n",
        "g, (f, *_) = 1, (2, 3)\n",
        "if True:\n    def f(a):\n        return a\nelse:\n    pass\n",
        "try:\n    from fast import f\nexcept ImportError:\n    def f(a):\n        return a\n",
        "class Solution:\n    def f(self, a):\n        return a\n",
        "class Base:\n    def f(self, a):\n        return a\nclass Solution(Base):\n    pass\n",
        "from math import floor as f\n",
        "from lib import g, f\n",
        "def f(a):\n    return (a\n",
        "class Solution:\n    def f(self, a):\n        return (a\n",
        "f = lambda a: (a\n",
        "from math import floor as f\nprint((\n",
    ],
)
def test_the_block_that_defines_the_entry_point(program: str) -> None:
    for others in (
        ["print(f(3))\n", "assert f(1) == 1\nprint(Solution().f(1))\n"],
        [
            "def g(a):\n    f = a\n    return f\n",
            "f == 1\n",
            "x.f = 1\n",
            "class Solution:\n    x = 1\n",
        ],
    ):
        blocks = "".join(f"Then\n```python\n{other}```\n" for other in others)
        answer = f"{blocks}So:\n```python\n{program}```\n{blocks}"
        assert extract_program(answer, mode="function", entry_point="f") == program
        plain = f"{blocks}So:\n```\n{program}```\n{blocks}"
        assert extract_program(plain, mode="function", entry_point="f") == program


def test_the_last_real_definition_counts() -> None:
    def found(*programs: str) -> str | None:
        answer = "".join(f"```python\n{program}```\n" for program in programs)
        return extract_program(answer, mode="function", entry_point="f")

    other = F.replace("return a", "return 1")
    assert found(F, other) == other
    assert found(F, "from solution import f\nassert f(1) == 1\n") == F
    assert found(F, "def f(a):\n    ...\n", 'def f(a):\n    """Doc."""\n') == F
    assert found("def f(a): pass\n", "print(f(1))\n") == "def f(a): pass\n"
    assert found("x = 1\n", "x = 2\n") == "x = 2\n"


@pytest.mark.parametrize(
    "program",
    [
        "print(2 * int(input()))\n",
        "import sys\nfor line in sys.stdin:\n    print(line)\n",
        "from sys import stdin as s, stdin\nprint(stdin.read())\n",
        "import sys\ninput = sys.stdin.readline\nprint(input())\n",
        "print(open(0).read())\n",
        "import os\nprint(os.read(0, 99))\n",
        "print(open('/dev/stdin').read())\n",
        "import fileinput\nfor line in fileinput.input():\n    print(line)\n",
        "import sys, io, os\nsys.stdin = io.BytesIO(os.read(0, 99))\nprint(sys.stdin.read())\n",
        "print(*map(int, iter(input, '')))\n",
        "print(int(input())\n",
    ],
)
def test_the_block_that_reads_the_input(program: str) -> None:
    others = [
        "print(solve(3))  # input() is 3\n",
        "def solve(input):\n    return input\nassert solve(3) == 3\n",
        "input = '3'\nprint(solve(input))\n",
        "import io, sys\nsys.stdin = io.StringIO('3')\nprint(input())\n",
    ]
    blocks = "".join(f"Then\n```python\n{other}```\n" for other in others)
    assert extract_program(f"{blocks}So:\n```python\n{program}```\n{blocks}") == program
    assert extract_program(f"{blocks}So:\n```\n{program}```\n{blocks}") == program


@pytest.mark.parametrize("info", ["cpp", "c++", "C++17", "cpp20", "cc", "cxx", "c", "main.cpp", ""])
def test_cpp(info: str) -> None:
    program = '#include <cstdio>\nint main() { puts("1"); }\n'
    answer = (
        f"```{info}\n{program}```\nFaster:\n```cpp\nint f() {{}}\n```\n```python\nprint(1)\n```"
    )
    assert extract_program(answer, language="cpp") == program
    assert extract_program("```python\nint main() {}\n```", language="cpp") is None


NESTED = 20_000
BLANKS = " " * NESTED


@pytest.mark.parametrize(
    "response",
    [
        *("```python\n'''\n" * 3000, "```python\n'''\n```\n" * 3000, "```python\nx```\n" * 3000),
        "Use ```python\nx = 1```\n" * 5000,
        *("</think>" * NESTED, "<think>" * NESTED, "<" * NESTED, "`" * NESTED, "```x" * NESTED),
        *("> " * NESTED + "```", " " * NESTED + "```x", "1. " * NESTED, "<a_" * NESTED),
        *("> " * NESTED + "x```", "- " * NESTED + "x```", "<a> " * NESTED + "x```"),
        *(f"{BLANKS}```print(1)```", f"```{BLANKS}```", f"{BLANKS}x ```", f"> {BLANKS}x```"),
        *(f"- {BLANKS}x```", f"<a>{BLANKS}x```", f"```python\n{BLANKS}x```\n```"),
        "> " + "~" * 3 * NESTED + "```",
        "```python\n" + "(" * NESTED + "\n```\n```python\n1\n```",
        "```python\n" + "-" * NESTED + "1\n```\n```python\n1\n```",
        "```python\n" + "a.b" * NESTED + "\n```\n```python\n1\n```",
        "```python\nif 1:\n 1\n" + "elif 1:\n 1\n" * 5000 + "```\n```python\n1\n```",
        "```python\n\0\n```\n```python\n\ud800\n```\n```python\n'''\ud800\n```\n```",
    ],
)
def test_hostile_answers_take_linear_time_and_raise_nothing(response: str) -> None:
    started = time.process_time()
    extract_program(response)
    extract_program(response, mode="function", entry_point="f(")
    assert time.process_time() - started < 5


WHOLE = "import sys\ndef main():\n    n = int(sys.stdin.readline())\n    print(2 * n)\nmain()\n"


@pytest.mark.parametrize(
    "explained",
    [
        "n = int(input())\n",
        "import sys\ninput = sys.stdin.readline\n",
        "def main():\n    n = int(sys.stdin.readline())\n    print(2 * n)\n",
        "def main(): ...\nn = int(input())\n",
    ],
)
def test_a_whole_program_goes_before_a_line_of_it_that_is_explained(explained: str) -> None:
    others = f"It reads so:\n```python\n{explained}```\n"
    assert extract_program(f"{others}```python\n{WHOLE}```\n{others}") == WHOLE
    again = WHOLE.replace("2 * n", "3 * n")
    blocks = f"```python\n{WHOLE}```\n{others}Better:\n```python\n{again}```\n{others}"
    assert extract_program(blocks) == again


@pytest.mark.parametrize(
    "shown",
    [
        "f = lambda a: a\nprint(f(3))\n",
        "f = Solution().f\nprint(f(3))\n",
        "f = f(3)\nprint(f)\n",
        "for f in (1, 2):\n    print(f)\n",
        "def f(self, a):\n    return a\n",
        "def f(a):\n    raise NotImplementedError\n",
        "def f(a):\n    ...\n    return sorted(a)\n",
        "class Solver:\n    def f(self, a):\n        return 1\n",
        "f = (\n",
    ],
)
def test_an_example_that_binds_the_name_is_not_the_program(shown: str) -> None:
    for program in (F, "class Solution:\n    def f(self, a):\n        return a\n"):
        answer = f"```python\n{program}```\nThat is:\n```python\n{shown}```\n"
        assert extract_program(answer, mode="function", entry_point="f") == program
    alone = f"```python\n{shown}```\n```python\nprint(1)\n```"
    assert extract_program(alone, mode="function", entry_point="f") == shown


def test_a_whole_program_in_cpp_goes_before_parts_of_it() -> None:
    whole = "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << n; }\n"
    for part in ("int main() { ... }\n", "int main() { assert(f(1) == 1); }\n"):
        answer = f"```cpp\n{whole}```\nThat is:\n```cpp\n{part}```\n"
        assert extract_program(answer, language="cpp") == whole


@pytest.mark.parametrize("quote", ["`", '"', "'"])
def test_a_mark_that_is_spoken_of_does_not_count(quote: str) -> None:
    spoken = f"I left out {quote}</think>{quote} here.\n"
    assert extract_program(f"{ANSWER}\n{spoken}") == "print(1)\n"
    assert extract_program(f"<think>\n{THOUGHT}\n{spoken}</think>\n{ANSWER}") == "print(1)\n"
    assert extract_program(f"<think>\n{THOUGHT} `x`</think>\n{ANSWER}") == "print(1)\n"


def test_a_block_that_needs_another_goes_behind_it() -> None:
    def found(*programs: str, mode: Mode = "stdin") -> str | None:
        answer = "".join(f"```python\n{program}```\n" for program in programs)
        return extract_program(answer, mode=mode, entry_point="f" if mode == "function" else None)

    whole = "def g(n):\n    return 2 * n\nprint(g(int(input())))\n"
    assert found(whole, "n = int(input('n: '))\nprint(g(n))\n") == whole
    helped = "def g(a):\n    return a\ndef f(a):\n    return g(a)\n"
    shown = "def f(a):\n    return g(a)\n"
    assert found(helped, shown, mode="function") == helped
    assert found(shown, helped, shown, mode="function") == helped
    fast = "import sys\ninput = sys.stdin.readline\nprint(1)\n"
    assert found(fast, "print(2 * int(input()))\n") == "print(2 * int(input()))\n"
    # The prelude of a data set may give what no block defines.
    counted = "def f(a):\n    return Counter(a)\n"
    assert found(F, counted, mode="function") == counted
