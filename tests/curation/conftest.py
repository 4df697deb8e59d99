from collections.abc import Callable, Iterator

import pytest

from rlef.curation.check import check_problem
from rlef.curation.judge import Judge
from rlef.curation.repair import repaired
from rlef.curation.types import ProblemCheck, Repaired
from rlef.problems import Problem
from rlef.sandbox import Sandbox
from rlef.sandbox.build import languages_here


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled programs of the tests do not end up among the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    with Sandbox(workers=2) as sandbox:
        yield Judge(sandbox, 3, languages_here())


@pytest.fixture
def check(judge: Judge) -> Callable[[Problem], ProblemCheck]:
    return lambda problem: check_problem(problem, judge)


@pytest.fixture
def repair(judge: Judge) -> Callable[[Problem], Repaired]:
    """Repairs a problem; what comes back must have nothing left that can be repaired."""

    def run(problem: Problem) -> Repaired:
        def again(changed: Problem) -> ProblemCheck:
            return check_problem(changed, judge)

        result = repaired(again(problem), again)
        if result.problem is not None:
            left = again(result.problem).findings
            assert left == result.left
            assert all(finding.repair is None for finding in left)
        return result

    return run
