"""The recipe of each arm, and what is wrong with the words of a study."""

from collections.abc import Sequence
from pathlib import Path

from rlef.config import ConfigError, join_words, load_config
from rlef.run import RunFolder
from rlef.study.arms import ARMS, TRAINED_TURNS, Exam, Part
from rlef.train.recipe import TrainConfig


def arm_config(recipe: str, words: Sequence[str], part: Part) -> TrainConfig:
    """The recipe as the arm changes it.

    Args:
        recipe: A recipe's name or path.
        words: Settings for all arms.
        part: The arm and its seed.

    Raises:
        ConfigError: A word is wrong, or the recipe cannot be changed so.
    """
    whole = load_config(TrainConfig, recipe, words)
    turns = whole.rollout.turn_limit
    if turns != TRAINED_TURNS:
        raise ConfigError(
            f"rollout.turn_limit is {turns}, but a study's arms, exams and tables are of "
            f"{TRAINED_TURNS} turns; allowed: {TRAINED_TURNS}"
        )
    if whole.eval_turn_limit != TRAINED_TURNS:
        raise ConfigError(
            f"eval.turn_limit is {whole.eval_turn_limit}, but a study's exams have turn limits of "
            f"their own; allowed: null or {TRAINED_TURNS}"
        )
    if whole.cluster.address is not None:
        raise ConfigError(
            f"cluster.address is {whole.cluster.address}, but a study runs in processes of one "
            "machine; allowed: null"
        )
    if whole.trackers:
        raise ConfigError(
            f"trackers is {', '.join(whole.trackers)}, but a study writes a page of its own and "
            "tells no tracker; allowed: trackers=[]"
        )
    own = [*part.arm.words, f"seed={part.seed}", "eval.random_feedback=false"]
    all_words = join_words(words, own)
    config = load_config(TrainConfig, recipe, all_words)
    if part.arm.rollouts == 1:
        return config
    more = config.updates * part.arm.rollouts
    return load_config(TrainConfig, recipe, join_words(all_words, [f"updates={more}"]))


def has_second_setting(config: TrainConfig) -> bool:
    """Whether policies are examined at ``eval.also`` too."""
    return len(config.eval.samplings) > 1


def samples_of(exam: Exam, config: TrainConfig) -> int:
    """Episodes per problem: the recipe's, in exams with as many turns as training."""
    return config.eval.samples if exam.turn_limit == TRAINED_TURNS else exam.samples


def first_policy(recipe: str, words: Sequence[str], part: Part, out: Path) -> str | None:
    """Returns the folder of the policy that a repair arm follows; ``None`` for other arms.

    Args:
        recipe: As for ``arm_config``, as are the others.
        words: Settings for all arms.
        part: The repair arm and its seed.
        out: Folder of the study.
    """
    if part.arm.repairs is None:
        return None
    from rlef.train.loop import policy_path  # imports torch: only for those who ask

    first = Part(ARMS[part.arm.repairs], part.seed)
    run = RunFolder(first.folder(out))
    return str(policy_path(arm_config(recipe, words, first), run))


def check_order(todo: Sequence[Part]) -> None:
    """Raises ConfigError unless every repair arm has the arm that it follows."""
    names = {part.arm.name for part in todo}
    for part in todo:
        if part.arm.repairs is not None and part.arm.repairs not in names:
            raise ConfigError(
                f"the arm {part.arm.name} repairs the answers of {part.arm.repairs}, which is not "
                f"among the arms; allowed: {part.arm.repairs},{part.arm.name}"
            )
