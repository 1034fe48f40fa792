"""`lrmil distil`: distil an encoder into one for low resolution, on slides without labels."""

import argparse
from collections import deque
from pathlib import Path

from lrmil.cli.arguments import Commands, add_checksums, add_device, add_mpp, add_settings, command
from lrmil.collector import without_collections

SUMMARY = "distil an encoder for low resolution, without labels"
EXAMPLE = "lrmil distil slides --encoder uni2-h --student-encoder vit_small_patch16_224 --out encoder"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil distil`."""
    parser = command(commands, "distil", SUMMARY, EXAMPLE, run)
    parser.add_argument("slides", nargs="+", type=Path, metavar="SLIDES", help="files or folders")
    text = "folder of the encoder; its subfolder work may be deleted afterwards"
    parser.add_argument("--out", type=Path, required=True, metavar="ENCODER", help=text)
    add_settings(parser)
    add_mpp(parser)
    add_checksums(parser)
    add_device(parser)
    parser.set_defaults(folds=None)


def run(options: argparse.Namespace) -> int:
    """Distil, write the encoder, and print how well it matches its teacher."""
    with without_collections():
        from lrmil.cli.options import config_of, inputs_of, slides_of
        from lrmil.cli.printing import exit_code, figure, print_lines, stderr, stdout
        from lrmil.cli.progress import show
        from lrmil.runs.distil import distil_steps
        from lrmil.training.processes import joined, rank

    sources, config = slides_of(options), config_of(options)
    with joined(options.device) as device:
        steps = distil_steps(sources, options.out, config, device=device, inputs=inputs_of(options))
        if rank():  # torchrun started this process to train along with the first, which speaks
            deque(steps, maxlen=0)
            return 0
        done = show(steps, stderr)
    distilled, start = done.fidelity.distilled, done.fidelity.start
    mapped = " by a linear map" * bool(config.stage1.lambda_keep)
    figures = {
        "held-out patches": done.fidelity.patches,
        f"R2 to the teacher{mapped}": distilled.r2,
        f"R2 of the start{mapped}": start.r2,
        "effective rank": distilled.rank,
        "effective rank of the start": start.rank,
    }
    print_lines({name: figure(value) for name, value in figures.items()})
    for slide_id, message in done.failed.items():
        stdout.print(f"Left out: {slide_id}: {message}", markup=False)
    stdout.print(f"Encoder: {done.folder}", markup=False)
    stdout.print(
        f"Next: lrmil train SLIDES LABELS --out RUN --encoder {config.encoder} --student-encoder {done.folder} "
        "--set stage1.fit.steps=0",
        markup=False,
    )
    return exit_code(len(done.failed), len(sources))
