"""Training dialogues for the warm start, in which no attempt depends on feedback.

Each attempt is drawn from the problem alone: where the statement tells the detail, mostly the right
program; where it leaves the detail out, a program with an alternative drawn at random, again in
every turn. The feedback between them is the judge's own. So a model trained on them writes
programs and keeps the form of the dialogue, but has never seen feedback that was made use of.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from rlef.environment import ChatFormat, Conversation, Episode, Prompts, public_job
from rlef.problems import Problem
from rlef.problems.mini import Specimen, mutants
from rlef.sandbox import JudgeReport, Sandbox, Verdict

WRONG_ALTERNATIVE = 0.1
"""Chance of a wrong ending where the statement tells the right one."""
LATER_TURNS = 0.3
"""Share of dialogues that go on after a first answer that failed."""
MISTAKE = 0.1
"""Chance of a mistake in what is computed."""


def draw_attempt(specimen: Specimen, rng: Random) -> str:
    """Returns a program for a problem, drawn without any look at feedback."""
    if specimen.disclosure == "hidden" or rng.random() < WRONG_ALTERNATIVE:
        program = rng.choice(specimen.programs)
    else:
        program = specimen.programs[specimen.correct]
    wrong = mutants(program) if rng.random() < MISTAKE else []
    return rng.choice(wrong) if wrong else program


def answer_of(program: str) -> str:
    """Returns the answer that holds a program."""
    return f"```python\n{program}```"


class DialogueWriter:
    """Writes dialogues on problems, with true feedback.

    Args:
        prompts: The templates.
        max_turns: Attempts at most.
        sandbox: Judges the attempts on the public tests.
    """

    def __init__(self, prompts: Prompts, max_turns: int, sandbox: Sandbox) -> None:
        self._prompts = prompts
        self._max_turns = max_turns
        self._sandbox = sandbox

    def write(self, specimens: Sequence[Specimen], seed: int) -> Iterator[list[str]]:
        """Yields one dialogue per problem: message, answer, message, answer and so on.

        Most end after the first answer: that is where programs are learnt, at half the price.
        """
        rng = Random(f"dialogues/{seed}")
        plans = []
        for specimen in specimens:
            turns = self._max_turns if rng.random() < LATER_TURNS else 1
            plans.append([draw_attempt(specimen, rng) for _ in range(turns)])
        reports = self._judge(specimens, plans)
        for specimen, attempts in zip(specimens, plans, strict=True):
            yield self._dialogue(specimen.problem, attempts, reports)

    def _judge(
        self, specimens: Sequence[Specimen], plans: Sequence[Sequence[str]]
    ) -> dict[tuple[str, str], JudgeReport]:
        """Judges all attempts but the last, after which no feedback follows."""
        jobs = {
            (specimen.problem.name, program): public_job(specimen.problem, program)
            for specimen, attempts in zip(specimens, plans, strict=True)
            for program in attempts[:-1]
        }
        reports = self._sandbox.judge_many(list(jobs.values()))
        for (name, _), report in zip(jobs, reports, strict=True):
            if report.verdict is Verdict.IE:
                raise RuntimeError(f"the judge failed on problem {name!r}")
        return dict(zip(jobs, reports, strict=True))

    def _dialogue(
        self,
        problem: Problem,
        attempts: Sequence[str],
        reports: Mapping[tuple[str, str], JudgeReport],
    ) -> list[str]:
        episode = Episode(problem.public, max_turns=self._max_turns, prompts=self._prompts)
        texts = [episode.first_message]
        for number, attempt in enumerate(attempts, start=1):
            texts.append(answer_of(attempt))
            if episode.answer(texts[-1]) is None:
                raise RuntimeError(f"no program was found in an attempt on {problem.name!r}")
            if number == len(attempts):
                break
            message = episode.observe(reports[problem.name, attempt])
            if message is None:
                break
            texts.append(message)
        return texts


def to_tokens(dialogue: Sequence[str], chat: ChatFormat) -> Conversation:
    """Returns a dialogue as token ids; the tokens of its answers are the action tokens."""
    conversation = Conversation(chat)
    conversation.start(dialogue[0])
    for index, text in enumerate(dialogue[1:], start=1):
        if index % 2 == 0:
            conversation.add_observation(text)
            continue
        ids = [*chat.tokenizer.encode(text, add_special_tokens=False), chat.end_of_turn]
        conversation.add_action(ids, [0.0] * len(ids))
    return conversation
