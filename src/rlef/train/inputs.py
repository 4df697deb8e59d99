"""Files that a run is made of beside its settings: a run goes on with those that it began with.

Data, prompts and chat templates that are on this disk are kept by their hashes, in
``inputs.jsonl`` of the run folder. Not the weights of a model, which take too long to read.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlef.problems.files import SUFFIXES
from rlef.problems.load import local_path
from rlef.run import RunError, RunFolder
from rlef.train.recipe import TrainConfig

_OF_CHATS = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")
"""In a model's folder."""


def keep_inputs(run: RunFolder, config: TrainConfig) -> None:
    """Notes the files of a run that begins; see ``check_inputs`` for one that goes on.

    Raises:
        RunError: As there.
        RunWriteError: They cannot be noted.
    """
    noted = run.inputs_path.is_file()
    if noted and not run.is_untouched():
        check_inputs(run, config)
    elif (found := list(_noted(config, []))) or noted:
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
    known = {(o.get("path"), o.get("bytes"), o.get("modified_ns")): o for o in before}
    for path, setting in sorted({path: key for key, path in _files(config)}.items()):
        stat = path.stat()
        same = known.get((str(path), stat.st_size, stat.st_mtime_ns))
        if same is not None:
            yield same
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield {
            "path": str(path),
            "setting": setting,
            "sha256": digest,
            "bytes": stat.st_size,
            "modified_ns": stat.st_mtime_ns,
        }


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
        place = local_path(data[key]) if data.get(key) else None
        if place is not None:
            some = place.rglob("*") if place.is_dir() else (place,)
            named += [(f"data.{key}", one) for one in some if one.name.endswith(SUFFIXES)]
    yield from ((key, path.absolute()) for key, path in named if path.is_file())
