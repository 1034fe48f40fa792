"""What an optimisation step of stage 1 costs beside the bare forward, backward and AdamW of the same batch.

    python benchmarks/stage1_step.py --shared ../shared --out WORK/stage1_step.md

Both take the patches of one batch from memory and take turns in one process, on one thread of torch; seconds are of
processor time. The step is that of `lrmil.training.loop.fit_steps` with all that stage 1 does: augmentation, distances
of the blocks and of the embedding, clipping and the moving average. The bare one minimises the mean square of the
embedding. Targets are random numbers; that changes no cost.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lrmil.configs import Stage1Config
from lrmil.io.atomic import write_text
from lrmil.models.encoders.loading import Encoder, as_input, load_encoder
from lrmil.training.augmentation import augment, draw_changes
from lrmil.training.loop import Budget, FitRun, fit_steps
from lrmil.training.pair_loading import PairedBatch
from lrmil.training.pairs import RegionSamples
from lrmil.training.patch_stage import Student, stage1_losses

CPU = torch.device("cpu")
SIDE, CHILDREN, WARM = 128, 16, 3


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--encoders", nargs="*", default=["mobilenetv2_100", "tf_efficientnet_lite0"])
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| encoder | bare, ms | step of stage 1, ms | ratio |", "|---|---:|---:|---:|"]
    for name in options.encoders:
        bare, ours = measure(load_encoder(f"local-dir:{options.shared}/weights/{name}"), options.repeats)
        lines.append(f"| {name} | {1e3 * bare:.1f} | {1e3 * ours:.1f} | {ours / bare:.2f} |")
        print(lines[-1], flush=True)
    if options.out:
        write_text(options.out, "\n".join(lines) + "\n")


def measure(encoder: Encoder, repeats: int) -> tuple[float, float]:
    """Return the median seconds of a bare step and of one of stage 1."""
    config = Stage1Config()
    with torch.inference_mode():
        output = encoder(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8), config.layers)
    dims = [tokens.shape[1] for tokens in output.patch_tokens]
    batch = random_batch(config.batch_size, dims, encoder.dim)
    with tempfile.TemporaryDirectory() as folder:
        arms = (bare_steps(encoder, batch, config), stage1_steps(encoder, batch, dims, config, Path(folder)))
        seconds = np.array([[timed(arm) for arm in arms] for _ in range(WARM + repeats)])[WARM:]
    bare, ours = np.median(seconds, axis=0)
    return float(bare), float(ours)


def random_batch(size: int, dims: list[int], dim: int) -> PairedBatch:
    """Return a batch with random pixels and targets, each child of a patch covered."""
    tokens = tuple(torch.randn(size, CHILDREN, one).half() for one in dims)
    covered = torch.ones(size, CHILDREN, dtype=torch.bool)
    targets = RegionSamples(
        np.zeros((size, 2), np.int32), covered, torch.randn(size, dim), tokens, torch.randn(size, dim)
    )
    return PairedBatch(torch.randint(0, 256, (size, SIDE, SIDE, 3), dtype=torch.uint8), targets)


def bare_steps(encoder: Encoder, batch: PairedBatch, config: Stage1Config) -> Iterator[None]:
    """Yield after each bare step."""
    module = copy.deepcopy(encoder).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=config.fit.learning_rate)
    while True:
        loss = module(as_input(batch.pixels, CPU)).embedding.square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        yield


def stage1_steps(
    encoder: Encoder, batch: PairedBatch, dims: list[int], config: Stage1Config, folder: Path
) -> Iterator[None]:
    """Yield after each step of stage 1."""
    student = Student(copy.deepcopy(encoder), dims, dims, projected_dim=encoder.dim)
    student.to(memory_format=torch.channels_last)

    def losses(_: int, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        for _ in range(config.fit.steps):
            changes = draw_changes(len(batch.pixels), generator, stain=config.stain)
            yield stage1_losses(student, augment(batch, changes), config, CPU)

    run = FitRun(0, folder / "checkpoint.safetensors", "key", CPU)
    budget = Budget(1, config.fit.steps)
    for _ in fit_steps(("step",), student, run, epoch_losses=losses, budget=budget, validate=None, config=config.fit):
        yield


def timed(steps: Iterator[None]) -> float:
    """Take a step; return its seconds of processor time."""
    start = time.process_time()
    next(steps)
    return time.process_time() - start


if __name__ == "__main__":
    main()
