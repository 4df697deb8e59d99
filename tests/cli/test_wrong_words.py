"""Wrong words: one line, exit status 2, nothing left behind, and no torch on the way there."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GOOD = {
    "name": "double",
    "statement": "Print 2n.",
    "public_tests": [{"input": "2\n", "output": "4\n"}],
    "private_tests": [{"input": "3\n", "output": "6\n"}],
}
E = ["eval", "mini", "--data", "jsonl:p.jsonl"]
J = ["--data", "jsonl:p.jsonl", "--problem"]
CHECK = ["data", "check", "jsonl:p.jsonl"]
FREE = "in use; allowed: a new or an empty folder"
A_FILE = "is a file, or stands in one; allowed: a new or an empty folder"
CASES: list[tuple[list[str], str]] = [
    (["trian"], "No such command 'trian'"),
    (["train"], "Missing argument 'RECIPE_OR_RUN'; see: rlef train --help"),
    (["train", "updates=8"], "'updates=8' is a setting; allowed: a recipe before it"),
    (["train", "mini", "device=gpu"], "command line: device is 'gpu'; allowed: auto, cpu, cuda"),
    (["train", "mini", "device=gpu", "--dry-run"], "command line: device is 'gpu'; allowed"),
    (["train", "mini", "rollout.prompts=nope"], "command line: rollout.prompts: unknown prompts"),
    (["train", "mini", "data.test=jsonl:none.jsonl"], "data.test: none.jsonl: no such file"),
    (["train", "mini", "data.test=jsonl:empty.jsonl"], "data.test: empty.jsonl: holds no problem"),
    (["train", "mini", "data.train=jsonl:bad.jsonl"], "bad.jsonl, line 2, field 'name'"),
    (["train", "mini", "data.train=mini:tset"], "data.train: unknown split 'tset'"),
    (
        ["train", "mini", "data.train=mini:train?x=1"],
        "data.train: mini:train?x=1: unknown option 'x'",
    ),
    (["train", "mini", "data.train=mbpp:hub:974-601"], "no split '974-601'; allowed: prompt, test"),
    (
        ["train", "mini", "data.train=mbpp:hub:train?form=x"],
        "form is 'x'; allowed: full, sanitized",
    ),
    (["train", "mini", "data.train=codecontests:hub"], "has several splits; add one of :train"),
    (["train", "mini", "data.train=humaneval:hub:train"], "has no split 'train'; there is :test"),
    (["train", "mini", "data.train=jsonl:hub"], "jsonl:hub: is not on the Hub; name a file or f"),
    (["train", "mini", "model=./nope"], "command line: model.name: no folder './nope'; allowed"),
    (["train", "mini", "model=user"], "model.name: user: a folder without config.json; allowed"),
    (["train", "mini", "model=p.jsonl"], "model.name: p.jsonl: a file; allowed"),
    (["train", "mini", "model=nope"], "model.name: no folder 'nope', and the Hub cannot be asked"),
    (
        ["train", "mini", "model.chat_template=bad.jinja"],
        "model.chat_template: bad.jinja: the chat",
    ),
    (["train", "mini", "model.chat_template=bad.jinja", "--dry-run"], "line 2: Encountered unknow"),
    (["train", "mini", "model.chat_template=file"], "model.chat_template: file: empty; allowed"),
    (
        ["train", "mini", "model.template_arguments.x=1"],
        "mini: the chat template reads no argument",
    ),
    (["train", "mini", "model.today=2025-02-01"], "mini: the chat template does not ask for the d"),
    (
        ["train", "mini", 'model.system="\\udc00"'],
        r'model.system: holds "\udc00"; allowed: Unicode',
    ),
    (["train", "mini", "rollout.max_context=10000000"], "10000000, but mini was made for 1024"),
    (["train", "mini", "data.test=jsonl:p.jsonl?first=1"], "data.test has one problem, too few"),
    (["train", "mini", "rollout.max_new_tokens=768"], "rollout.max_new_tokens is 768; allowed: "),
    (["train", "mini", "updates=10"], "command line: updates is 10; allowed: a multiple of the 4"),
    (["train", "mini", "rollout.batch=63"], "command line: rollout.batch is 63 and learner"),
    (["train", "own.yaml"], "own.yaml:2: updates is 10; allowed: a multiple"),
    (["train", "user"], "user has no config.yaml; allowed: the folder of a run"),
    (["train", "mini", "--out", "file"], f"file {A_FILE}"),
    (["train", "mini", "--out", "file/x"], f"file/x {A_FILE}"),
    (["train", "mini", "--out", "user"], f"user is {FREE}"),
    (["train", "mini", "--out", "foreign"], "foreign/config.yaml:1: unknown key theirs"),
    (["train", "mini", "--out", "sheet"], "sheet was begun with other values of"),
    (["train", "evaluated"], "evaluated is an evaluation; allowed: to go on with it by rlef eval"),
    (["train", "mini", "--out", "evaluated"], "evaluated is an evaluation; allowed: "),
    (["train", "mini", "--out", ""], "an empty word at --out; allowed: a value"),
    (["train", "mini", "--out", "x" * 300], "File name too long; allowed: a shorter name"),
    (["train", "mini", "--out", "circle"], "circle: Too many levels of symbolic links; allowed"),
    (["train", "mini", "--seeds", "0"], "Invalid value for '--seeds'"),
    ([*E, "--engine", "tgi"], "no engine 'tgi'; allowed: hf, vllm, openai"),
    ([*E, "--dtype", "fp8"], "dtype is 'fp8'; allowed: auto, float32, bfloat16, float16"),
    ([*E, "--device", "gpu"], "device is 'gpu'; allowed: auto, cpu, cuda"),
    ([*E, "--device", "mps"], "device is 'mps'; allowed: auto, cpu, cuda"),
    ([*E, "--top-p", "0"], "top_p is 0.0; allowed: above 0, up to 1.0 (off)"),
    ([*E, "--top-p", "1.1"], "Invalid value for '--top-p'"),
    ([*E, "--temperature", "inf"], "temperature is inf; allowed: 0 (greedy), or 1e-05 or more"),
    ([*E, "--temperature", "1e-300"], "temperature is 1e-300; allowed: 0 (greedy), or 1e-05 or"),
    ([*E, "--kv-memory-gb", "inf"], "Invalid value for '--kv-memory-gb'"),
    ([*E, "--temperature", "nan"], "Invalid value for '--temperature'"),
    *(
        ([*E, option, "0"], f"Invalid value for '{option}'")
        for option in ("--samples", "--turns", "--concurrency", "--limit", "--max-new-tokens")
    ),
    ([*E, "--engine", "openai", "--base-url", "nonsense"], "the base URL is 'nonsense'; allowed"),
    ([*E, "--engine", "openai", "--base-url", "http://"], "the base URL is 'http://'; allowed"),
    ([*E, "--engine", "vllm"], "the engine vllm is not installed; on a machine with a GPU: pip"),
    ([*E, "--engine", "openai"], "neither OPENAI_API_KEY nor a base URL is set; allowed: a key"),
    ([*E, "--max-context", "1025"], "max_context is 1025, but mini was made for 1024 tokens"),
    ([*E, "--preset", "nonsense"], "no preset 'nonsense'; allowed: 1@3, 10@100"),
    ([*E, "--prompts", "none.txt"], "none.txt: no such prompts file"),
    ([*E, "--prompts", "latin.txt"], "latin.txt: not UTF-8"),
    ([*E, "--metrics", "3@1"], "metric '3@1' submits more than it samples"),
    ([*E, "--out", "file"], f"file {A_FILE}"),
    ([*E, "--out", "user"], f"user is {FREE}"),
    ([*E, "--out", "sheet"], "sheet is no evaluation: its config.yaml is that of a training"),
    ([*E, "--out", "foreign"], "foreign is no evaluation"),
    ([*E, "--chat-template", "bad.jinja"], "bad.jinja: the chat template failed: line 2: Encount"),
    ([*E, "--template-arg", "x=1"], "mini: the chat template reads no argument 'x' (model.templ"),
    ([*E, "--template-arg", "x=1", "--template-arg", "x=2"], "is given twice for x; allowed: once"),
    ([*E, "--today", "2025-02-01"], "mini: the chat template does not ask for the date (model.tod"),
    (["eval", "nope", *E[2:]], "no folder 'nope', and the Hub cannot be asked"),
    (["eval", "./nothere", *E[2:]], "no folder './nothere'; allowed: 'mini', a folder, or"),
    (["eval", "mini", "--data", "nonsense"], "unknown data set 'nonsense'"),
    (["eval", "--samples-file", "none", *E[2:]], "none cannot be read: No such file"),
    (["eval", "--samples-file", "user", *E[2:]], "user cannot be read: Is a directory"),
    (["eval", "--compare", "user", "none"], "user has no config.yaml; allowed"),
    (["judge", "none.py", *J, "double"], "none.py: No such file or directory"),
    (["judge", "user", *J, "double"], "user is a folder; allowed: a file or -"),
    (["judge", "latin.txt", *J, "double"], "latin.txt is not UTF-8"),
    (["judge", "file", *J, "duoble"], "no problem 'duoble' in 'jsonl:p.jsonl' (did you mean"),
    (["judge", "file", *J, "double", "--language", "java"], "language is 'java'; allowed: python"),
    (["judge", "file"], "give --data SPEC and --problem NAME, or --input FILE and --expected"),
    (["judge", "file", "--input", "file"], "give --data SPEC and --problem NAME, or --input"),
    (["judge", "file", "--input", "file", "--expected", "none"], "none: No such file"),
    (["judge", "x.cpp", *J, "f"], "f calls a function in Python, but x.cpp is C++; allowed"),
    (["study", "rollout.batch=63"], "command line: rollout.batch is 63"),
    (["study", "rollout.turn_limit=2"], "rollout.turn_limit is 2, but a study's arms"),
    (["study", "device=gpu"], "command line: device is 'gpu'; allowed"),
    (["study", "--arms", "nope"], "no arm 'nope'; allowed: untrained"),
    (["study", "--budget", "huge"], "budget is 'huge'; allowed: quick, full"),
    (["study", "--page", "--out", "none"], "none holds no finished part of this study; allowed"),
    (["study", "--out", "user"], f"user is {FREE}"),
    (["study", "--out", "file"], f"file {A_FILE}"),
    (["bench", "--only", "nope"], "No such option: --only"),
    (["bench", "sandbox", "--only", "nope"], "unknown measure 'nope'; allowed: trivial"),
    (["bench", "train", "--only", "nope"], "unknown measure 'nope'; allowed: phases"),
    (["bench", "train", "device=gpu"], "device is 'gpu'; allowed"),
    (
        ["bench", "train", "cluster.address=local"],
        "command line: cluster.address is local; allowed: null",
    ),
    (["bench", "train", "--trl", "none"], "No such option: --trl"),
    (["data", "show", "apps:nope/nope"], "nope/nope: no such file or folder, and cannot be read"),
    (["data", "show", "nonsense"], "unknown data set 'nonsense'"),
    (["data", "check", "nonsense"], "unknown data set 'nonsense'"),
    ([*CHECK, "--out", "p.jsonl"], "p.jsonl exists; allowed: a new file"),
    ([*CHECK, "--out", "./user/../p.jsonl"], "p.jsonl exists; allowed: a new file"),
    ([*CHECK, "--out", "soft.jsonl"], "soft.jsonl exists; allowed: a new file"),
    ([*CHECK, "--out", "hard.jsonl"], "hard.jsonl exists; allowed: a new file"),
    ([*CHECK, "--out", "dangling"], "dangling exists; allowed: a new file"),
    ([*CHECK, "--fix", "soft.jsonl"], "soft.jsonl exists; allowed: a new file"),
    ([*CHECK, "--out", "user"], "user is a folder; allowed: a file in an existing folder"),
    ([*CHECK, "--out", "none/x"], "none/x: there is no folder none; allowed"),
    ([*CHECK, "--out", "file/x"], "file/x: there is no folder file; allowed"),
    ([*CHECK, "--out", "a.jsonl", "--fix", "./a.jsonl"], "a.jsonl is given twice; allowed"),
    ([*CHECK, "--out", "x" * 300], "File name too long; allowed: a shorter name"),
    (["recipe", "cp", "nope", "new.yaml"], "no recipe 'nope'"),
    (["recipe", "cp", "mini", "file"], "file exists; allowed: a new file"),
    (["recipe", "cp", "mini", "dangling"], "dangling exists; allowed: a new file"),
    (["recipe", "cp", "mini", "none/x"], "none/x: there is no folder none; allowed"),
    (["warmstart", "new", "nope=1"], "command line: unknown key nope"),
    (["warmstart", "new", "lr=.inf"], "command line: lr: must be a finite number"),
    (["warmstart", "user"], f"user is {FREE}"),
    (["warmstart", "sheet"], f"sheet is {FREE}"),
    (["warmstart", "file"], f"file {A_FILE}"),
    (["warmstart", "dangling"], f"dangling is a link to nothing; {FREE.partition('; ')[2]}"),
    (["report", "file"], "file is a file; allowed: the folder of a run"),
    (["report", "none"], "none does not exist; allowed: the folder of a run"),
    (["report", ""], "an empty word at report; allowed: a value"),
    (["data", "show", "jsonl:\x1b[31m\u202e.jsonl"], r"\x1b[31m\u202e.jsonl: no such file"),
    (["data", "show", "jsonl:caf\udce9.jsonl"], r"caf\udce9.jsonl: no such file"),
]
SCRIPT = """
import contextlib, io, json, sys
for name in ("torch", "transformers", "vllm"):
    sys.modules[name] = None  # an import fails
from rlef.cli.main import main
done = []
for words in json.loads(sys.stdin.read()):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            done.append([end.code, out.getvalue(), err.getvalue()])
print(json.dumps(done))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files and folders of a user, none of which a wrong word may change."""
    folder = tmp_path_factory.mktemp("words")
    called = {**GOOD, "name": "f", "mode": "function", "entry_point": "f"}
    called |= {"public_tests": [{"input": "[1]", "output": "2"}], "private_tests": []}
    (folder / "p.jsonl").write_text(f"{json.dumps(GOOD)}\n{json.dumps(called)}\n")
    (folder / "bad.jsonl").write_text(f"{json.dumps(GOOD)}\n{json.dumps({**GOOD, 'name': 1})}\n")
    for name in ("empty.jsonl", "file", "x.cpp"):
        (folder / name).write_text("")
    (folder / "own.yaml").write_text("seed: 1\nupdates: 10\n")
    (folder / "bad.jinja").write_text("{% for m in messages %}\n{% endfo %}")
    (folder / "latin.txt").write_bytes(b"[[first_stdin]]\n\xe9\n")
    for name, text in (
        ("foreign", "theirs: 1\n"),
        ("sheet", "seed: 7 # by hand\n"),
        ("evaluated", "model: mini\ndata: mini:test\nturns: 3\n"),
    ):
        (folder / name).mkdir()
        (folder / name / "config.yaml").write_text(text)
    (folder / "user").mkdir()
    (folder / "user" / "notes").write_text("mine")
    (folder / "soft.jsonl").symlink_to("p.jsonl")
    (folder / "dangling").symlink_to("none")
    (folder / "circle").symlink_to("circle")
    (folder / "hard.jsonl").hardlink_to(folder / "p.jsonl")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, with the texts of files."""
    paths = list(folder.rglob("*"))
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in paths
    }


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> list[tuple[int, str, str]]:
    """All cases, in one process that cannot import torch."""
    before = contents(folder)
    environment = {"PATH": "/usr/bin:/bin", "HF_HOME": str(folder.parent / "hf")}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps([words for words, _ in CASES]),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert contents(folder) == before
    return [(code, out, without_sign(err)) for code, out, err in json.loads(done.stdout)]


def without_sign(err: str) -> str:
    """What was said, less the line that a busy machine adds: that the command still loads."""
    return re.sub(r"\Aloading, for \d+:\d\d\n", "", err)


@pytest.mark.parametrize("place", range(len(CASES)), ids=[" ".join(w)[:60] for w, _ in CASES])
def test_wrong_words_are_one_line(outcomes: list[tuple[int, str, str]], place: int) -> None:
    _, fragment = CASES[place]
    code, out, err = outcomes[place]
    assert (code, out) == (2, "")
    assert err.startswith("rlef: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert fragment in err
    assert err.rstrip("\n").isprintable()


def test_names_of_measures_are_those_that_there_are() -> None:
    from rlef.bench import names, sandbox, train

    assert tuple(sandbox.MEASURES) == names.SANDBOX
    assert tuple(train.MEASURES) == names.TRAIN


def test_a_dry_run_needs_no_problems(rlef: Any) -> None:
    code, out, err = rlef("train", "paper-8b", "--dry-run")
    assert (code, err) == (0, "") and "data/codecontests/train.jsonl" in out


def test_settings_as_they_are_printed_can_be_given_back(rlef: Any) -> None:
    def settings(*words: str) -> list[tuple[str, str]]:
        code, out, _ = rlef("train", "mini", *words, "--dry-run")
        assert code == 0
        return [(line.split()[0], line.split()[1]) for line in out.splitlines()]

    printed = settings()
    assert ("learner.lora", "null") in printed and ("eval.random_feedback", "true") in printed
    assert settings(*(f"{key}={value}" for key, value in printed)) == printed
