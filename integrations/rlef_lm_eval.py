"""RLEF in lm_eval: single answers, judged on all tests. lm_eval has no turns.

    lm_eval --include_path integrations --tasks rlef --metadata '{"data": "mini:dev"}' ...

``rlef_lm_eval.yaml`` names these functions. Page: docs/integrations/lm_eval.md.
"""

from typing import Any

from datasets import Dataset

from rlef.environment import (
    Episode,
    JudgedEpisode,
    judged_record,
    problems_by_name,
    settle,
)
from rlef.serve import shared_judge


def rows(data: str = "", **_: Any) -> dict[str, Dataset]:
    """Returns problems as lm_eval takes them; a row names its problem, and has no test.

    Args:
        data: Their specification, of ``--metadata``, in which lm_eval puts words of its own too.

    Raises:
        ValueError: There is none.
    """
    if not data:
        raise ValueError('no problems are named; --metadata \'{"data": "mini:dev"}\' names some')
    problems = problems_by_name(data)
    prompts = [Episode(problem.public).first_message for problem in problems.values()]
    columns = {"prompt": prompts, "problem": list(problems), "data": [data] * len(prompts)}
    return {"test": Dataset.from_dict(columns)}


def scores(doc: dict[str, Any], answers: list[str]) -> dict[str, float]:
    """Judges the answer to a row.

    Raises:
        NotJudgedError: The judge could not do its work; lm_eval cannot leave a row out.
    """
    episode = JudgedEpisode(problems_by_name(doc["data"])[doc["problem"]], max_turns=1)
    episode.answer(answers[0])
    settle([episode], shared_judge().pool)
    record = judged_record(episode)
    return {
        "solved": float(record.solved),
        "passed_public": float(record.passed_public),
        "invalid": float(record.turns[0].program is None),
    }
