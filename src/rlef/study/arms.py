"""What a study compares: arms that differ in one thing each, and the exams that they take."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

BASE, RLEF = "untrained", "rlef"
TRAINED_TURNS = 3
"""Turns of the main table, as in training."""

ExamName = Literal["feedback", "also", "random", "private", "long", "independent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """How a policy is evaluated on the test problems.

    Attributes:
        turn_limit: Answers per episode at most. An episode ends when its public tests pass, so
            one exam tells the solve rate of every lower limit too.
        samples: Episodes per problem.
        feedback: What is told between turns; ``arm``: what the arm's settings say.
        also: Whether it samples at the recipe's second setting, ``eval.also``.
    """

    name: ExamName
    turn_limit: int
    samples: int = 1
    feedback: Literal["arm", "random", "private"] = "arm"
    also: bool = False


EXAMS: dict[ExamName, Exam] = {
    "feedback": Exam(name="feedback", turn_limit=TRAINED_TURNS),
    "also": Exam(name="also", turn_limit=TRAINED_TURNS, also=True),
    "random": Exam(name="random", turn_limit=TRAINED_TURNS, feedback="random"),
    "private": Exam(name="private", turn_limit=TRAINED_TURNS, feedback="private"),
    "long": Exam(name="long", turn_limit=10),
    "independent": Exam(name="independent", turn_limit=1, samples=20),
}
"""``feedback``: for 1@1 and 1@3, and ``also`` the same at ``eval.also``, where a recipe has it.
``random``: the control. ``private``: feedback from private tests too. ``long``: far more turns than
in training. ``independent``: answers without feedback, for what feedback is worth at equal cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A way to train, or none.

    Attributes:
        name: Of its folder.
        title: In tables.
        words: ``key=value`` settings on the study's recipe.
        exams: What it is asked with every seed: what a claim or the table of arms needs.
        once: What it is asked with the first seed only: for figures.
        main: Part of the budget ``quick``, and shown in figures.
        rollouts: Rollouts as a multiple of the recipe's, where equal cost is not equal rollouts.
        is_trained: Whether there is anything to train.
        examples: Dialogues of the untrained model on training problems, solved after feedback,
            that stand before every problem.
        repairs: The arm whose policy gives first answers; this one learns to repair them.
        imitates: Learns from the last answers of solved rollouts, without rewards.
        frozen: Rollouts are the untrained model's, to the end.
    """

    name: str
    title: str
    words: tuple[str, ...] = ()
    exams: tuple[ExamName, ...] = ("feedback",)
    once: tuple[ExamName, ...] = ()
    main: bool = False
    rollouts: int = 1
    is_trained: bool = True
    examples: int = 0
    repairs: str | None = None
    imitates: bool = False
    frozen: bool = False

    @property
    def is_fixed(self) -> bool:
        """Whether it is the same policy with every seed."""
        return not self.is_trained and not self.examples

    @property
    def is_claimed(self) -> bool:
        """Whether a claim of the paper is about it."""
        return any(self.name in (claim.lower.arm, claim.higher.arm) for claim in CLAIMS)


_IMITATION = ("learner.kl=none", "learner.critic_warmup_updates=0")
_IN_TURNS = "rollout.max_staleness=0"
"""Where another policy samples too, which stays as it was: side by side all would be too old; and
where a batch is of whole groups."""
_NO_CRITIC = (
    *("learner.lam=1", "learner.critic_warmup_updates=0", "learner.critic_sees=nothing"),
    *("learner.critic_epochs=null", "learner.critic_head_lr=null", "learner.critic_lora=null"),
)
"""For recipes that set these: they mean nothing without a critic, and are refused there."""
_NO_TEACHER = "learner.teacher=null"
"""Where feedback does not say what a teacher would say."""
_ONE_TURN = ("rollout.turn_limit=1", _NO_TEACHER, "learner.replay=null")
"""Teacher and replay are of later turns, and refused where there are none."""

ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(
            name=BASE,
            title="untrained",
            once=("random", "long", "independent"),
            main=True,
            is_trained=False,
        ),
        Arm(name="few-shot", title="untrained, few-shot", is_trained=False, examples=2),
        Arm(
            name=RLEF,
            title="RLEF",
            exams=("feedback", "random", "private"),
            once=("long",),
            main=True,
        ),
        Arm(
            name="sft",
            title="fine-tuning on the untrained model's solved rollouts",
            words=(*_IMITATION, _IN_TURNS),
            imitates=True,
            frozen=True,
            main=True,
        ),
        Arm(
            name="sft-iterated",
            title="fine-tuning on solved rollouts, iterated",
            words=_IMITATION,
            imitates=True,
            main=True,
        ),
        Arm(
            name="single-turn",
            title="single-turn RL",
            words=_ONE_TURN,
            main=True,
        ),
        Arm(
            name="single-turn-tokens",
            title="single-turn RL, three times the rollouts",
            words=_ONE_TURN,
            rollouts=3,
        ),
        Arm(
            name="repair",
            title="single-turn RL and a repair model",
            words=(_IN_TURNS,),
            repairs="single-turn",
        ),
        Arm(
            name="token-critic",
            title="token-level critic",
            words=("learner.advantage=token_critic",),
            main=True,
        ),
        Arm(name="turn-ratio", title="turn-level policy ratio", words=("learner.ratio=turn",)),
        Arm(
            name="grpo",
            title="GRPO, 4 per problem",
            words=(
                *(*_NO_CRITIC, _IN_TURNS, "learner.advantage=grpo", "rollout.per_problem=4"),
                "learner.kl=loss_k3",
            ),
        ),
        Arm(
            name="rloo",
            title="RLOO, 4 per problem",
            words=(*_NO_CRITIC, _IN_TURNS, "learner.advantage=rloo", "rollout.per_problem=4"),
        ),
        Arm(
            name="reinforce++",
            title="REINFORCE++",
            words=(*_NO_CRITIC, "learner.advantage=reinforce++"),
        ),
        Arm(
            name="no-feedback",
            title="trained without feedback, three tries",
            words=("feedback.kind=none", "eval.feedback=full", _NO_TEACHER),
        ),
        Arm(
            name="random-feedback",
            title="trained with random feedback",
            words=("feedback.kind=random", "eval.feedback=full", _NO_TEACHER),
        ),
        Arm(
            name="pass-fail",
            title="told only that a test failed",
            words=("feedback.kind=pass_fail", _NO_TEACHER),
        ),
        Arm(
            name="no-traceback",
            title="feedback without tracebacks",
            words=("feedback.kind=no_traceback",),
        ),
        Arm(name="graded", title="reward: share of tests", words=("reward.graded=true",)),
        Arm(name="discount", title="reward: 0.8 per turn", words=("reward.discount=0.8",)),
        Arm(
            name="potential",
            title="reward: gain of each turn",
            words=("reward.potential=0.5",),
        ),
        Arm(name="kl-loss", title="KL penalty in the loss (k3)", words=("learner.kl=loss_k3",)),
        Arm(name="no-kl", title="no KL penalty", words=("learner.kl=none",)),
    )
}
"""All arms, by name, in the order of tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a claim: an arm's rate on an exam."""

    arm: str
    turns: int = TRAINED_TURNS
    exam: ExamName = "feedback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A finding of the paper as a difference of two rates, which it says is above 0.

    Attributes:
        text: What is claimed.
        paper: The paper's numbers, Llama 3.1 8B, CodeContests valid / test, 1@3.
        lower: The side that is claimed to be lower.
        higher: The other one.
    """

    text: str
    paper: str
    lower: Side
    higher: Side


CLAIMS: tuple[Claim, ...] = (
    Claim(
        text="RLEF solves more than the untrained model",
        paper="8.9 / 10.5 → 17.2 / 16.1",
        lower=Side(arm=BASE),
        higher=Side(arm=RLEF),
    ),
    Claim(
        text="few-shot prompting makes the untrained model worse",
        paper="8.5 / 8.5 → 8.9 / 10.5",
        lower=Side(arm="few-shot"),
        higher=Side(arm=BASE),
    ),
    Claim(
        text="RLEF solves more than fine-tuning on solved rollouts",
        paper="10.3 / 10.0 → 17.2 / 16.1",
        lower=Side(arm="sft"),
        higher=Side(arm=RLEF),
    ),
    Claim(
        text="… also where these are sampled anew by the policy as it learns",
        paper="not tried",
        lower=Side(arm="sft-iterated"),
        higher=Side(arm=RLEF),
    ),
    Claim(
        text="RLEF solves more than single-turn RL",
        paper="10.2 / 10.9 → 17.2 / 16.1",
        lower=Side(arm="single-turn"),
        higher=Side(arm=RLEF),
    ),
    Claim(
        text="… also where single-turn RL has three times the rollouts",
        paper="not tried",
        lower=Side(arm="single-turn-tokens"),
        higher=Side(arm=RLEF),
    ),
    Claim(
        text="RLEF solves more than single-turn RL with a repair model of its own",
        paper="14.8 / 12.6 → 17.2 / 16.1",
        lower=Side(arm="repair"),
        higher=Side(arm=RLEF),
    ),
    Claim(
        text="the trained model needs true feedback: random feedback solves less",
        paper="a large part of the gain of later turns is lost (figure)",
        lower=Side(arm=RLEF, exam="random"),
        higher=Side(arm=RLEF),
    ),
    Claim(
        text="feedback in training matters: without it, less is solved",
        paper="12.2 / 10.9 → 17.2 / 16.1",
        lower=Side(arm="no-feedback"),
        higher=Side(arm=RLEF),
    ),
    Claim(
        text="a critic of turns beats one of tokens",
        paper="13.1 / 13.7 → 17.2 / 16.1",
        lower=Side(arm="token-critic"),
        higher=Side(arm=RLEF),
    ),
    Claim(
        text="feedback from private tests at inference helps",
        paper="17.2 / 16.1 → 18.1 / 14.4",
        lower=Side(arm=RLEF),
        higher=Side(arm=RLEF, exam="private"),
    ),
)
"""What the paper found, in the order of the page."""


def chosen_arms(names: str | None, *, full: bool) -> list[Arm]:
    """The arms of a study.

    Args:
        names: Separated by commas; ``None``: all, or the main ones.
        full: All of them.

    Raises:
        ValueError: There is no such arm.
    """
    if names is None:
        return [arm for arm in ARMS.values() if full or arm.main]
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in ARMS]
    if unknown or not wanted:
        raise ValueError(f"no arm {', '.join(unknown) or names!r}; allowed: {', '.join(ARMS)}")
    return [arm for arm in ARMS.values() if arm.name in wanted]


class Part(NamedTuple):
    """An arm with a seed."""

    arm: Arm
    seed: int
    is_first: bool = False
    """Whether it is the arm's first seed, which is asked more."""

    def exams(self, *, also: bool = False) -> list[Exam]:
        """The exams that it takes.

        Args:
            also: Whether the recipe has a second setting of evaluations.
        """
        names = (*self.arm.exams, *(self.arm.once if self.is_first else ()))
        return [EXAMS[name] for name in (*names, *(("also",) if also else ()))]

    def folder(self, out: Path) -> Path:
        """Its run folder."""
        return out / self.arm.name / f"seed-{self.seed}"


def parts_there(out: Path, first_seed: int) -> list[Part]:
    """All parts that have a folder in ``out``, in the order of ``parts``."""
    found = [
        Part(arm, int(folder.name.removeprefix("seed-")), folder.name == f"seed-{first_seed}")
        for arm in ARMS.values()
        for folder in (out / arm.name).glob("seed-*")
        if folder.name.removeprefix("seed-").isdecimal()
    ]
    return sorted(found, key=lambda part: part.seed)


def parts(
    arms: Sequence[Arm], first_seed: int, seeds: int, unclaimed_seeds: int | None = None
) -> list[Part]:
    """All parts in the order they run in: every arm with a seed before the next seed.

    An arm that is the same with every seed is one part.

    Args:
        arms: Which.
        first_seed: Of all arms.
        seeds: Seeds of each.
        unclaimed_seeds: Seeds of arms that no claim is about; ``None``: as many.
    """

    def count(arm: Arm) -> int:
        if arm.is_fixed:
            return 1
        return seeds if arm.is_claimed or unclaimed_seeds is None else unclaimed_seeds

    return [
        Part(arm, first_seed + n, n == 0)
        for n in range(max(map(count, arms)))
        for arm in arms
        if n < count(arm)
    ]
