"""Asks a service with the clients of verl, SandboxFusion, open-instruct and open-r1 as they are.

usage: real_clients.py SOURCES URL

SOURCES holds checkouts of these, see ``dev/serve_clients.sh``, whose environment runs this script.
"""

import ast
import asyncio
import dataclasses
import importlib
import importlib.util
import json
import logging
import re
import sys
import types
import weakref
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import requests

DOUBLE = "```python\nprint(2 * int(input()))\n```"


def package(name: str, folder: Path) -> None:
    """A package without its ``__init__``, which would bring the trainer along."""
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module


def verl(sources: Path, url: str) -> None:
    package("fusion_parent", sources / "verl/verl/utils/reward_score")
    fusion = importlib.import_module("fusion_parent.sandbox_fusion")

    def scored(completion: str, tests: Any, **words: Any) -> tuple[float, list[Any]]:
        score, details = fusion.compute_score(
            f"{url}/run_code", None, 1024, completion, tests, **words
        )
        return score, [one["status"] for one in details]

    tests = {"inputs": ["1\n", "2\n"], "outputs": ["2\n", "5"]}
    assert scored(DOUBLE, tests) == (0.5, ["success", "wrong_answer"])
    assert scored(DOUBLE, json.dumps(tests), continuous=True)[0] == 0.5
    endings = {
        "while True: pass": ["timeout"],
        "1 / 0": ["runtime_error"],
        "print(": ["runtime_error"],
        "print(2)": ["success"],
    }
    one = {"inputs": ["1"], "outputs": ["2"]}
    for source, status in endings.items():
        assert scored(f"```python\n{source}\n```", one, timeout=1)[1] == status, source
    calls = {"inputs": ["[1, 2]\n3"], "outputs": ["6"], "fn_name": "add"}
    assert scored("```python\ndef add(a, b): return sum(a) + b\n```", calls)[0] == 1.0
    asserts = {"assert_case": ["assert add(1, 2) == 3", "assert add(1, 2) == 4"]}
    assert scored("```python\ndef add(a, b): return a + b\n```", asserts)[0] == 0.5
    utils = sys.modules["fusion_parent.sandbox_fusion.utils"]
    found, _ = utils.check_correctness(f"{url}/run_code", one, "int main() {", language="cpp")
    assert found == [-4], found
    found, details = utils.check_correctness(f"{url}/run_code", one, "x", language="go")
    assert found == [-1] and details[0]["status"] == "api_error"


def sandbox_fusion(sources: Path, url: str) -> None:
    sys.path.insert(0, str(sources / "sandbox-fusion/scripts/client/src"))
    sdk = importlib.import_module("sandbox_fusion")
    models = importlib.import_module("sandbox_fusion.models")
    request = sdk.RunCodeRequest(code="print(input())", stdin="hi", language="python")
    answer = sdk.run_code(request, endpoint=url)
    assert answer.status == "Success" and answer.run_result.stdout == "hi\n"
    answer = asyncio.run(sdk.run_code_async(request, endpoint=url))
    assert answer.run_result.return_code == 0
    case = {"input": {"stdin": "4"}, "output": {"stdout": "8"}}
    config = models.TestConfig(
        language="python", dataset_type="CommonOJDataset", provided_data={"test": [case]}
    )
    submission = sdk.SubmitRequest(dataset="any", id=1, completion=DOUBLE, config=config)
    result = sdk.submit(submission, endpoint=url)
    assert result.accepted and result.tests[0].exec_info.run_result.stdout == "8\n"


def open_instruct(sources: Path, url: str) -> None:
    """The class by itself: its module imports the trainer."""
    path = sources / "open-instruct/open_instruct/ground_truth_utils.py"
    names = {"VerifierConfig", "VerificationResult", "VerifierFunction", "CodeVerifier"}
    names |= {"CodeVerifierConfig"}
    tree = ast.parse(path.read_text())
    tree.body = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name in names]
    found: dict[str, Any] = {
        **{"dataclasses": dataclasses, "requests": requests, "asyncio": asyncio, "re": re},
        **{"ABC": ABC, "abstractmethod": abstractmethod, "Any": Any, "weakref": weakref},
        **{"logger": logging.getLogger("open-instruct")},
    }
    exec(compile(tree, str(path), "exec"), found)

    def scored(address: str, prediction: str, label: Any, *, penalty: bool = False) -> float:
        config = found["CodeVerifierConfig"](
            code_api_url=address,
            code_max_execution_time=1.0,
            code_pass_rate_reward_threshold=0.0,
            code_apply_perf_penalty=penalty,
        )
        verifier = found["CodeVerifier"](config)
        return float(asyncio.run(verifier.async_call([], prediction, label)).score)

    asserts = f"{url}/test_program"
    add = "```python\ndef add(a, b): return a + b\n```"
    tests = ["assert add(1, 2) == 3", "assert add(1, 1) == 3"]
    assert scored(asserts, add, tests) == 0.5
    assert scored(asserts, add, json.dumps(tests)) == 0.5
    assert 0.5 < scored(asserts, add, tests[:1], penalty=True) < 1.0
    stdio = asserts.replace("/test_program", "/test_program_stdio")
    assert scored(stdio, DOUBLE, [{"input": "4", "output": "8"}]) == 1.0


def open_r1(sources: Path, url: str) -> None:
    package("contests", sources / "open-r1/src/open_r1/utils/competitive_programming")
    client_module = importlib.import_module("contests.piston_client")
    scoring = importlib.import_module("contests.cf_scoring")

    async def work() -> None:
        client = client_module.PistonClient(f"{url}/api/v2", max_requests_per_endpoint=4)
        async with client.session:
            runtimes = await client.get_supported_runtimes()
            assert {"python", "c++"} <= {one["language"] for one in runtimes[0]}
            files = [{"name": "main.py", "content": "print(1)"}]
            answer = await client.send_execute({"files": files}, language="python")
            assert answer["run"]["stdout"] == "1\n" and answer["run"]["code"] == 0
            problem: dict[str, Any] = {
                **{"id": "1/A", "time_limit": 1.0, "memory_limit": 256.0, "input_mode": "stdio"},
                "generated_checker": None,
                "official_tests": [{"input": "4\n", "output": "8"}, {"input": "1", "output": "2"}],
            }

            async def none(_: str) -> list[Any]:
                return []

            scoring.get_generated_tests = none
            right = "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << 2 * n; }"
            scores = [
                await scoring.score_submission(client, problem, program, 2, "partial", **words)
                for program, words in (
                    (right, {}),
                    (right.replace("2 * n", "8"), {}),
                    ("int main() {", {}),
                    ("print(2 * int(input()))", {"submission_language": "python"}),
                    ("while 1: pass", {"submission_language": "python"}),
                )
            ]
            assert scores == [1.0, 0.5, -0.1, 1.0, 0.0], scores
            checker = "import sys\nprint(int(open(sys.argv[3]).read().strip() == '9'))"
            problem["generated_checker"] = checker
            words = {"submission_language": "python"}
            assert await scoring.score_submission(
                client, problem, "print(9)", 2, "pass_fail", **words
            )

    asyncio.run(work())


def main(folder: str, url: str) -> None:
    sources = Path(folder)
    for client in (verl, sandbox_fusion, open_instruct, open_r1):
        client(sources, url)
        print(f"{client.__name__}: fine", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
