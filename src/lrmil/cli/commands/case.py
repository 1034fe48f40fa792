"""`lrmil case`: classify one slide and write files to show the case to others."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import (
    Commands,
    add_bounds,
    add_checksums,
    add_device,
    add_model,
    add_mpp,
    add_regions,
    add_threads,
    add_tissue,
    command,
    count,
)
from lrmil.collector import without_collections

SUMMARY = "classify one slide and write files to show it to others"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil case`."""
    parser = command(commands, "case", SUMMARY, "lrmil case a.svs --model run/model --out case", run)
    parser.add_argument("slide", type=Path, metavar="SLIDE", help="slide file, or folder of one slide")
    add_model(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    add_mpp(parser, one=True)
    add_checksums(parser)
    add_tissue(parser)
    add_regions(parser)
    add_bounds(parser)
    text = "review log; the newest review of the slide and this model is added"
    parser.add_argument("--reviews", type=Path, metavar="LOG", help=text)
    text = "patches of highest and of lowest attention to show (default: %(default)s)"
    parser.add_argument("--top", type=count, default=8, metavar="K", help=text)
    add_threads(parser)
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    """Classify one slide and write its case."""
    with without_collections():
        from lrmil.cli.options import given_in, inputs_of, mpp_of, with_checksums
        from lrmil.cli.printing import stderr, stdout
        from lrmil.cli.progress import show
        from lrmil.cli.review_logs import review_log_at
        from lrmil.models.bundle import load_bundle
        from lrmil.patches.tissue import regions_of
        from lrmil.prediction.inference import predict_steps
        from lrmil.reports.case_page import key_of, require_case_writable, write_case
        from lrmil.reviews.log import latest_reviews
        from lrmil.slides.discovery import slide_path
        from lrmil.slides.opening import open_source
        from lrmil.slides.source import SlideSource, slide_id_of

    bundle = load_bundle(options.model)
    reviews = latest_reviews(review_log_at(options.reviews).reviews) if options.reviews else {}
    path = slide_path(options.slide)
    unchecked = SlideSource(slide_id_of(path), path, mpp_of(options), options.use_objective_power)
    (source,) = with_checksums([unchecked], options.checksums)
    require_case_writable(options.out, source, inputs_of(options))
    given = given_in(options, [source]).get(source.slide_id)
    with open_source(source) as slide:
        mask, regions = regions_of(slide, given)
        steps = predict_steps(slide, bundle, options.device, threads=options.threads, tissue=mask, regions=regions)
        prediction = show(steps, stderr)
        review = reviews.get(key_of(prediction))
        page = write_case(
            options.out,
            prediction,
            slide,
            bundle.card,
            review=review,
            k=options.top,
            subtract_bounds=options.subtract_bounds,
            inputs=inputs_of(options),
        )
    if options.reviews and review is None:
        stderr.print(f"{options.reviews} has no review of {prediction.slide_id} with this model.", markup=False)
    stdout.print(f"Model output, not a diagnosis. Page: {page}", markup=False)
    return 0
