"""``rlef eval``: how well a model solves problems, turn by turn."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlef.cli.common import new_run_path, print_json, print_rich, quiet_transformers

if TYPE_CHECKING:
    from rlef.run import RunFolder

EXAMPLES = (
    "Examples: rlef eval runs/one/checkpoints/update-000120 --data mini:test --prompts mini · "
    "rlef eval Qwen/Qwen2.5-Coder-0.5B-Instruct --data jsonl:mine.jsonl --samples 5 --limit 20"
)


def evaluate(
    model: Annotated[str, typer.Argument(help="A folder or Hub id of a causal language model.")],
    data: Annotated[str, typer.Option(metavar="SPEC", help="Problems, such as mini:test.")],
    turns: Annotated[int, typer.Option(min=1, help="Turn limit; 1: no feedback.")] = 3,
    samples: Annotated[int, typer.Option(min=1, help="Episodes per problem.")] = 1,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many problems.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0: greedy.")] = 0.2,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="1: off.")] = 0.95,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 512,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the episodes; by default runs/eval-TIME.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all draws.")] = 0,
    prompts: Annotated[str, typer.Option(help="default, mini, or a .txt file.")] = "default",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Evaluate a model on problems, with execution feedback between its turns."""
    from rlef.engines.types import SamplingParams
    from rlef.environment import Prompts
    from rlef.evaluation.evaluate import evaluate as run_evaluation
    from rlef.problems import load_problems
    from rlef.report import evaluation_table

    try:
        templates = Prompts.load(prompts)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    sampling = SamplingParams(temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens)
    options = {"model": model, "data": data, "turns": turns, "samples": samples, "limit": limit}
    options |= {**asdict(sampling), "seed": seed, "prompts": prompts}
    problems = load_problems(data)[:limit]
    run = _open_or_create(out or new_run_path("eval"), options)
    quiet_transformers()
    with run.lock():
        result = run_evaluation(
            model=model,
            problems=problems,
            run=run,
            turn_limit=turns,
            samples=samples,
            sampling=sampling,
            seed=seed,
            prompts=templates,
            device=device,
            say=lambda line: typer.echo(line, err=True),
        )
    if as_json:
        print_json(result)
        return
    print_rich(evaluation_table(result, turns))
    typer.echo(f"{len(problems)} problems, {samples} episodes each, ± half a 95 % interval")
    typer.echo(f"episodes: {run.rollouts_path}")


def _open_or_create(path: Path, options: dict[str, object]) -> "RunFolder":
    """The folder, new or begun with the same options.

    Raises:
        RunError: It was begun with other options.
    """
    import yaml

    from rlef.run import RunError, RunFolder

    run = RunFolder(path)
    if not run.is_run():
        return RunFolder.create(path, yaml.safe_dump(options, sort_keys=False))
    begun = yaml.safe_load(run.read_config())
    if begun != options and run.is_untouched():
        run.write_config(yaml.safe_dump(options, sort_keys=False))
    elif begun != options:
        changed = [key for key in options if begun.get(key) != options[key]]
        raise RunError(
            f"{path} was begun with other values of {', '.join(changed)}; "
            "allowed: the same words again, or another --out"
        )
    return RunFolder.open(path)
