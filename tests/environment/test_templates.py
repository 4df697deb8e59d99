from importlib import resources
from pathlib import Path

import pytest

from rlef.environment import Prompts

TEXT = (resources.files("rlef.environment") / "prompts" / "mini.txt").read_text(encoding="utf-8")


def load(folder: Path, text: str) -> Prompts:
    path = folder / "mine.txt"
    path.write_text(text, encoding="utf-8")
    return Prompts.load(str(path))


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    mine = load(tmp_path, TEXT.replace("No code found.", "Code {{please}}!"))
    assert mine.no_code.format() == "Code {please}!\nTry again."
    assert mine.first_stdin == Prompts.load("mini").first_stdin


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[empty]]\n(nothing)", "", "missing sections: empty"),
        ("[[empty]]", "[[emtpy]]", "unknown section 'emtpy'; allowed: compile_error, empty"),
        ("[[empty]]", "[[no_code]]", "section 'no_code' stands twice"),
        ("[[first_stdin]]", "Hello\n[[first_stdin]]", "mine.txt:1: text before the first"),
        ("{observed}", "{private}", "'wrong_answer': unknown 'private'; allowed: expected, input"),
        ("{observed}", "{observed!r}", "unknown 'a format'"),
        ("No code found.", "No {x", "(a literal brace is written twice)"),
        ("{failures}\n", "", "section 'feedback': lacks {failures}"),
        ("{statement}\n[[", "Hi\n[[", "section 'first_stdin': lacks {statement}"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(ValueError) as caught:
        load(tmp_path, TEXT.replace(old, new, 1))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_sets() -> None:
    with pytest.raises(ValueError, match=r"unknown prompts 'tiny'; allowed: default, mini, or the"):
        Prompts.load("tiny")
    with pytest.raises(ValueError, match=r"nowhere\.txt: no such prompts file"):
        Prompts.load("nowhere.txt")


def test_sections_of_reduced_feedback_may_be_left_out(tmp_path: Path) -> None:
    old = load(tmp_path, TEXT[: TEXT.index("[[test_failed]]")])
    assert (old.test_failed, old.try_again) == ("A test failed.", "Try again.")
    mine = load(tmp_path, TEXT.replace("A test failed.", "Nope."))
    assert mine.test_failed == "Nope."


def test_files_of_other_editors(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    text = TEXT.replace("No code found.", "No\u2028code.")
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert Prompts.load(str(path)).no_code == "No\u2028code.\nTry again."
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(ValueError, match=r"mine\.txt: not UTF-8; allowed: UTF-8 text"):
        Prompts.load(str(path))
