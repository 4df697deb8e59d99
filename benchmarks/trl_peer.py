"""TRL's GRPOTrainer on the work that ``trl_compare.py`` gives it. Run by a Python that has TRL.

usage: python trl_peer.py SETTINGS.json

Reads the settings, trains, prints one JSON line: for each batch of rollouts its seconds and its
completion tokens. Rewards come from rlef's judge here too, so ``PYTHONPATH`` names rlef's source.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(path: str) -> None:
    """Trains as the settings say."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from rlef.environment import extract_program, final_job
    from rlef.problems import load_problems
    from rlef.sandbox import Sandbox

    settings: dict[str, Any] = json.loads(Path(path).read_text())
    torch.set_num_threads(settings["threads"])
    problems = {problem.name: problem for problem in load_problems(settings["data"])}
    rows = [
        {"prompt": [{"role": "user", "content": message}], "name": name}
        for name, message in settings["prompts"]
    ]
    counts: list[int] = []

    with Sandbox(workers=2) as sandbox:

        def reward(
            completions: list[list[dict[str, str]]],
            completion_ids: list[list[int]],
            name: list[str],
            **_: object,
        ) -> list[float]:
            counts.append(sum(map(len, completion_ids)))
            found = [-1.0] * len(completions)
            programs = [
                extract_program(
                    answer[0]["content"],
                    language=problems[of].language,
                    mode=problems[of].mode,
                    entry_point=problems[of].entry_point,
                )
                for answer, of in zip(completions, name, strict=True)
            ]
            jobs, places = [], []
            for place, (program, problem) in enumerate(zip(programs, name, strict=True)):
                if program is not None:
                    jobs.append(final_job(problems[problem], program))
                    places.append(place)
            for place, report in zip(places, sandbox.judge_many(jobs), strict=True):
                found[place] = 1.0 if report.passed else -1.0
            return found

        times: list[float] = []

        class Clock(TrainerCallback):
            """Takes the time at the end of each optimizer step."""

            def on_train_begin(self, *_: Any, **__: Any) -> None:
                times.append(time.perf_counter())

            def on_step_end(self, *_: Any, **__: Any) -> None:
                times.append(time.perf_counter())

        steps = settings["batch"] // settings["minibatch"]
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(settings["model"], dtype=torch.float32),
            processing_class=AutoTokenizer.from_pretrained(settings["model"]),
            reward_funcs=reward,
            train_dataset=Dataset.from_list(rows),
            callbacks=[Clock()],
            args=GRPOConfig(
                output_dir=settings["out"],
                use_cpu=settings["device"] == "cpu",
                bf16=False,
                per_device_train_batch_size=settings["minibatch"],
                steps_per_generation=steps,
                num_generations=settings["per_problem"],
                max_completion_length=settings["max_new_tokens"],
                max_steps=steps * settings["batches"],
                temperature=1.0,
                beta=settings["beta"],
                learning_rate=settings["lr"],
                gradient_checkpointing=False,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
        )
        trainer.train()
    batches = [times[i * steps + steps] - times[i * steps] for i in range(settings["batches"])]
    print(json.dumps({"seconds": batches, "tokens": counts[: settings["batches"]]}))


if __name__ == "__main__":
    main(sys.argv[1])
