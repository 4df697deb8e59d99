import pytest

from rlef.environment import extract_program


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
