"""The mean of some policies' weights, as a model of its own (Wortsman et al., arXiv 2203.05482).

usage: python benchmarks/mean_policy.py OUT MODEL MODEL...
    OUT: a new folder; MODEL: folders of models of one kind, such as checkpoints
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"


def main() -> None:
    if len(sys.argv) < 4:
        sys.exit("usage: python benchmarks/mean_policy.py OUT MODEL MODEL...")
    out, *models = map(Path, sys.argv[1:])
    found = [load_file(model / WEIGHTS) for model in models]
    shutil.copytree(models[0], out, ignore=shutil.ignore_patterns("learner"))
    mean = {
        name: torch.stack([weights[name].float() for weights in found]).mean(0) for name in found[0]
    }
    save_file(mean, out / WEIGHTS, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
