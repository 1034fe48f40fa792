"""`lrmil extract`: encode slides at one resolution."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import (
    Commands,
    add_at,
    add_checksums,
    add_computing,
    add_mpp,
    add_tissue,
    add_workers,
    command,
    count,
)
from lrmil.collector import without_collections

SUMMARY = "encode slides at one resolution and store the features"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil extract`."""
    parser = command(commands, "extract", SUMMARY, "lrmil extract slides --encoder resnet50 --out f", run)
    parser.add_argument("slides", nargs="+", type=Path, metavar="SLIDES", help="files or folders")
    text = "a name from `lrmil encoders`, a timm name, hf-hub:owner/name or a folder"
    parser.add_argument("--encoder", required=True, help=text)
    ways = ["pooled", "cls", "mean", "cls+mean"]
    text = "the encoder's own pooling, class token, mean of the patch tokens, or both (default: %(default)s)"
    parser.add_argument("--embedding", default="pooled", choices=ways, help=text)
    parser.add_argument("--out", type=Path, required=True, help="folder for the features")
    parser.add_argument("--trident", action="store_true", help="also write TRIDENT-style h5 files")
    add_mpp(parser)
    add_checksums(parser)
    add_tissue(parser)
    add_at(parser)
    text = "side of a patch in pixels (default: the encoder's own; 256 if it takes any)"
    parser.add_argument("--patch-size", type=count, default=0, help=text)
    add_computing(parser)
    add_workers(parser)


def run(options: argparse.Namespace) -> int:
    """Encode slides and store their features. A slide that fails does not stop the others."""
    with without_collections():
        from lrmil.cli.commands.export import exported
        from lrmil.cli.elsewhere import encoder_elsewhere, executor_of, say_how_to_gather, threads_of
        from lrmil.cli.options import inputs_of, masks_in, slides_of
        from lrmil.cli.printing import exit_code, stderr, stdout
        from lrmil.cli.progress import show
        from lrmil.features.extraction import extract_features
        from lrmil.features.kinds import require_one_kind
        from lrmil.models.devices import pick_device
        from lrmil.models.encoders.loading import PatchEncoder, encoder_hash, load_encoder
        from lrmil.patches.plan import PatchPlan
        from lrmil.slides.each import IN_PROCESS
        from lrmil.slides.inputs import Inputs
        from lrmil.slides.resolution import parse_mpp

    executor = executor_of(options)
    sources = slides_of(options)  # before the encoder, which may have to be downloaded
    encoder = load_encoder(options.encoder, size=options.patch_size, embedding=options.embedding)
    grid = PatchPlan(mpp=parse_mpp(options.at), size=encoder.spec.size)
    sha256 = encoder_hash(encoder)
    require_one_kind(options.out, (sha256, grid.mpp, grid.size))
    device = pick_device(options.device if executor is IN_PROCESS else "cpu")  # workers have their own
    patch_encoder = PatchEncoder(encoder, device, batch_size=options.batch_size)
    steps = extract_features(
        sources,
        patch_encoder,
        sha256,
        options.out,
        grid,
        threads=threads_of(options),
        inputs=inputs_of(options),
        tissue=masks_in(options.tissue, sources),
        executor=executor,
        load=encoder_elsewhere(options, patch_encoder, sha256),
        shard=options.shard,
    )
    outcomes = show(steps, stderr)
    failed = sum(outcome.path is None for outcome in outcomes)
    for outcome in outcomes:
        stdout.print(f"{outcome.slide_id}: {outcome.path or outcome.message}", markup=False)
        if options.trident and outcome.path:
            failed += not exported(outcome.path, options.out, Inputs(sources, inputs_of(options)))
    say_how_to_gather(options)
    return exit_code(failed, len(outcomes))
