"""``rlef eval --samples-file``: programs that somebody else has sampled, judged."""

from pathlib import Path

import typer

from rlef.cli.common import metric_specs
from rlef.cli.display import Display, Loudness
from rlef.cli.evaluation_folder import check_folder, open_or_create, print_result, resumable


def judge_file(
    path: Path,
    data: str,
    metrics: str | None,
    limit: int | None,
    out: Path | None,
    missing_failed: bool,
    judge_url: str | None,
    as_json: bool,
    loudness: Loudness,
) -> None:
    """Judges the samples of a file; the arguments are the options of these names."""
    from rlef.problems import load_problems

    specs = metric_specs(metrics or "pass@1")
    check_folder(out)
    try:
        if not any(path.glob("*/*.py")):  # EvalPlus' folders
            path.open("rb").close()
    except OSError as error:
        raise typer.BadParameter(
            f"{path} cannot be read: {error.strerror}; allowed: a file of samples, or the folder "
            "that EvalPlus makes of them"
        ) from None
    with Display(loudness) as display:
        problems = load_problems(data)

        from rlef.evaluation.samples import check_metrics, judge_samples, read_sample_file

        found = read_sample_file(path, problems)
        samples = found.samples
        problems = problems[:limit]
        check_metrics(samples, problems, specs)
        options: dict[str, object] = {"samples_file": str(path), "data": data, "limit": limit}
        options["missing_failed"] = missing_failed
        with open_or_create(out, options) as run, resumable(run, display):
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
                judge_url=judge_url,
                notes=found.notes,
                say=display.message,
                show=display.episodes,
            )
    print_result(result, run, None, as_json, loudness)
