"""``rlef eval MODEL``: a model's episodes on problems."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import typer

from rlef.cli.chat_options import read_chat_options
from rlef.cli.common import quiet_transformers
from rlef.cli.display import Display, Loudness
from rlef.cli.evaluation_folder import check_folder, open_or_create, print_result, resumable

if TYPE_CHECKING:
    from rlef.engines.types import SamplingParams
    from rlef.environment import ChatSettings, FeedbackOptions, Prompts
    from rlef.evaluation.evaluate import EngineChoice
    from rlef.evaluation.specs import MetricSpec
    from rlef.problems import Problem
    from rlef.run import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWords:
    """What ``rlef eval`` was told, as its options have it; presets and defaults are filled in."""

    model: str
    data: str
    preset: str | None
    turns: int
    samples: int
    limit: int | None
    temperature: float
    top_p: float
    max_new_tokens: int
    out: Path | None
    seed: int
    prompts: str
    feedback: str
    engine: str
    base_url: str | None
    concurrency: int
    kv_memory_gb: float | None
    max_context: int | None
    chat_template: Path | None
    template_arg: Sequence[str]
    system: str | None
    today: str | None
    turns_as: str
    dtype: str
    device: str
    judge_url: str | None


class _Read(NamedTuple):
    """What the words stand for."""

    sampling: "SamplingParams"
    prompts: "Prompts"
    feedback: "FeedbackOptions"
    chat: "ChatSettings"


def evaluate_model(
    words: ModelWords, specs: "Sequence[MetricSpec]", as_json: bool, loudness: Loudness
) -> None:
    """Evaluates a model and prints what it came to.

    Args:
        words: What was asked for.
        specs: What to measure.
        as_json: Whether to print JSON.
        loudness: How much is shown on the way.
    """
    with Display(loudness) as display:
        read = _read(words)
        check_folder(words.out)
        problems = _problems(words, read, display)

        from rlef.evaluation.evaluate import evaluate as run_evaluation

        if words.engine != "openai":
            quiet_transformers()
        with open_or_create(words.out, _options(words, read)) as run, resumable(run, display):
            _keep_inputs(run, _files(words))
            title = f"{run.path.name}: {words.model} on {words.data}"
            display.begin(title, updates=0, log=run.log_path)
            result = run_evaluation(
                model=words.model,
                data=words.data,
                problems=problems,
                run=run,
                turn_limit=words.turns,
                samples=words.samples,
                metrics=specs,
                sampling=read.sampling,
                seed=words.seed,
                prompts=read.prompts,
                engine=_engine(words, read.chat),
                feedback=read.feedback,
                judge_url=words.judge_url,
                say=display.message,
                show=display.episodes,
            )
    print_result(result, run, words.samples, as_json, loudness)


def _read(words: ModelWords) -> _Read:
    """Raises BadParameter or ModelError where a word is wrong."""
    from rlef.engines.names import check_engine, check_installed
    from rlef.engines.types import SamplingParams, check_params
    from rlef.environment import Prompts

    sampling = SamplingParams(
        temperature=words.temperature, top_p=words.top_p, max_new_tokens=words.max_new_tokens
    )
    try:
        prompts = Prompts.load(words.prompts)
        check_params(sampling)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    chat = read_chat_options(
        words.chat_template, words.template_arg, words.system, words.today, words.turns_as
    )
    of_no_use = {
        "--kv-memory-gb": words.kv_memory_gb is not None and words.engine != "hf",
        "--device": words.device != "auto" and words.engine != "hf",
        "--dtype": words.dtype != "auto" and words.engine == "openai",
        "--max-context": words.max_context is not None and words.engine == "openai",
    }
    for word, is_given in of_no_use.items():
        if is_given:
            raise typer.BadParameter(f"{word} is of no use to the engine {words.engine}")
    if words.turns == 1 and words.feedback != "full":
        raise typer.BadParameter("--feedback comes after the first of several --turns, not of 1")
    check_engine(words.engine, words.dtype, words.device, words.base_url)
    check_installed(words.engine, words.base_url)
    return _Read(sampling, prompts, _feedback(words.feedback), chat)


def _feedback(kind: str) -> "FeedbackOptions":
    from rlef.environment import FeedbackOptions

    try:
        return FeedbackOptions.model_validate({"kind": kind})
    except ValueError:
        allowed = ", ".join(get_args(FeedbackOptions.model_fields["kind"].annotation))
        raise typer.BadParameter(f"no feedback {kind!r}; allowed: {allowed}") from None


def _problems(words: ModelWords, read: _Read, display: Display) -> "list[Problem]":
    """The problems, once the model is known to be there; a folder is made only after that."""
    from rlef.engines.names import check_chat, check_known_context, check_model, check_packages
    from rlef.problems import load_problems

    if words.engine != "openai":
        check_model(words.model)
        check_chat(words.model, read.chat)
        check_known_context(words.model, words.max_context or 0, "max_context")
    problems = load_problems(words.data)[: words.limit]
    check_packages(words.engine)

    from rlef.evaluation.episodes import with_public_tests

    usable = with_public_tests(problems, display.message, words.data)
    if words.feedback == "random" and len(usable) < 2:
        raise typer.BadParameter("--feedback random needs two or more problems, not 1")
    return usable


def _engine(words: ModelWords, chat: "ChatSettings") -> "EngineChoice":
    from rlef.engines.hf_settings import HFSettings
    from rlef.evaluation.evaluate import EngineChoice

    memory = words.kv_memory_gb
    return EngineChoice(
        kind=words.engine,
        device=words.device,
        dtype=words.dtype,
        base_url=words.base_url,
        concurrency=words.concurrency,
        max_context=words.max_context,
        hf=HFSettings() if memory is None else HFSettings(kv_memory_gb=memory),
        chat_settings=chat,
    )


def _files(words: ModelWords) -> dict[str, Path]:
    """The files that decide the episodes beside the problems, which are known by their hashes."""
    named = {
        "prompts": Path(words.prompts) if words.prompts.endswith(".txt") else None,
        "chat_template": words.chat_template,
    }
    return {setting: path for setting, path in named.items() if path is not None}


def _keep_inputs(run: "RunFolder", files: dict[str, Path]) -> None:
    """Notes the files of an evaluation that begins; one that goes on has them as they were."""
    from rlef.run.inputs import noted, refuse_changed

    if run.is_untouched() and (files or run.inputs_path.is_file()):
        run.write_inputs([noted(path, setting) for setting, path in files.items()])
    refuse_changed(run, files, "the file as it was then, or another --out")


def _options(words: ModelWords, read: _Read) -> dict[str, object]:
    """What decides the episodes, for ``config.yaml``: an evaluation goes on with the same only."""
    names = ("model", "data", "turns", "samples", "limit")
    more = ("seed", "prompts", "feedback", "preset", "engine", "dtype", "max_context")
    of_chat = read.chat.model_dump(mode="json")
    return {
        **{name: getattr(words, name) for name in names},
        **asdict(read.sampling),
        **{name: getattr(words, name) for name in more},
        **{"turns_as": of_chat.pop("turns"), **of_chat},
    }
