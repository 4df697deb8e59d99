"""Files that a run is made of beside its settings: a run goes on with those that it began with.

Data, prompts and chat templates that are on this disk are kept by their hashes, in
``inputs.jsonl`` of the run folder. Not the weights of a model, which take too long to read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlef.problems.load import local_files
from rlef.run import RunError, RunFolder
from rlef.run.inputs import looks_unchanged, noted
from rlef.train.recipe import TrainConfig

_OF_CHATS = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")
"""In a model's folder."""


def keep_inputs(run: RunFolder, config: TrainConfig) -> None:
    """Notes the files of a run that begins; see ``check_inputs`` for one that goes on.

    Raises:
        RunError: As there.
        RunWriteError: They cannot be noted.
    """
    is_noted = run.inputs_path.is_file()
    if is_noted and not run.is_untouched():
        check_inputs(run, config)
    elif (found := list(_noted(config, []))) or is_noted:
        run.write_inputs(found)


def check_inputs(run: RunFolder, config: TrainConfig) -> None:
    """Makes sure that a run which has begun goes on with the files that it began with.

    Raises:
        RunError: One is another. One line: which, and what is allowed.
        RunDamagedError: What was noted cannot be read.
    """
    if run.is_untouched() or not run.inputs_path.is_file():
        return
    began = {str(one.get("path")): one for one in run.read_inputs()}
    now = {one["path"]: one for one in _noted(config, list(began.values()))}
    for path in sorted(began.keys() | now.keys()):
        old, new = began.get(path), now.get(path)
        if old is not None and new is not None and old.get("sha256") == new["sha256"]:
            continue
        what = (
            "is not what it was"
            if old and new
            else "was not there"
            if new
            else "is gone, which was there"
        )
        setting = (new or old or {}).get("setting")
        raise RunError(
            f"{path} ({setting}) {what} when {run.path} began; allowed: the file as it was then, "
            "or a new run (--out)"
        )


def _noted(config: TrainConfig, before: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields what there is to note of each file; those of a known size and time are not read."""
    known = {one.get("path"): one for one in before}
    for path, setting in sorted({path: key for key, path in _files(config)}.items()):
        note = known.get(str(path))
        same = note is not None and looks_unchanged(path, note)
        yield note if note is not None and same else noted(path, setting)


def _files(config: TrainConfig) -> Iterator[tuple[str, Path]]:
    """Yields the settings that name files, with each file."""
    values = config.model_dump(mode="json")
    model, rollout, data = (values.get(key) or {} for key in ("model", "rollout", "data"))
    template, prompts, name = model.get("chat_template"), rollout.get("prompts"), model.get("name")
    named = [("model.chat_template", Path(template))] if template else []
    if prompts and prompts.endswith(".txt"):
        named.append(("rollout.prompts", Path(prompts)))
    if name and name != "mini":
        named += [("model.name", Path(name) / one) for one in _OF_CHATS]
    for key in ("train", "valid", "test"):
        if data.get(key):
            named += [(f"data.{key}", path) for path in local_files(data[key])]
    yield from ((key, path.absolute()) for key, path in named if path.is_file())
