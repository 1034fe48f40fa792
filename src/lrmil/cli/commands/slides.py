"""The commands on slides: inspect, predict, case, extract."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

from lrmil.cli.commands.records import exported
from lrmil.cli.options import inputs_of, log_at, masks_in, mpp_of, slides_of, with_checksums
from lrmil.cli.printing import console, exit_code, print_facts, print_json, print_rows, printed
from lrmil.cli.progress import show
from lrmil.features.extraction import extract_features
from lrmil.features.store import refuse_mixed
from lrmil.models.bundle import load_bundle
from lrmil.models.devices import pick_device
from lrmil.models.encoders.loading import PatchEncoder, encoder_hash, load_encoder
from lrmil.patches.inspection import inspect_slide
from lrmil.patches.plan import PatchPlan
from lrmil.patches.tissue import GivenMask
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.inference import predict_steps
from lrmil.prediction.options import PredictOptions
from lrmil.reports.case_page import require_case_writable, write_case
from lrmil.reviews.log import latest_reviews
from lrmil.slides.discovery import slide_path
from lrmil.slides.each import Work, each
from lrmil.slides.inputs import Inputs
from lrmil.slides.resolution import parse_mpp
from lrmil.slides.slide import open_source
from lrmil.slides.source import SlideSource, slide_id_of


def inspect(options: argparse.Namespace) -> int:
    """Say what each slide is; a bad one does not stop the others."""
    sources = slides_of(options)
    masks = masks_in(options.tissue, sources)
    look: Work[dict[str, object]] = partial(_inspect_one, at=options.at, size=options.patch_size, masks=masks)
    documents: list[dict[str, object]] = []
    for step in each(look, sources, job=("inspect",), names_outputs=False):
        if (outcome := step.result) is None:
            continue
        path = str(outcome.source.path)
        if outcome.failure is None:
            documents.append({"path": path, "status": "ok", **(outcome.value or {})})
        else:
            documents.append({"path": path, "status": "failed", **outcome.failure._asdict()})
        if not options.json:
            print_facts(documents[-1])
    failed = sum(document["status"] == "failed" for document in documents)
    if options.json:
        print_json(documents)
    return exit_code(failed, len(documents))


def _inspect_one(source: SlideSource, *, at: str, size: int, masks: Mapping[str, GivenMask]) -> dict[str, object]:
    return inspect_slide(source, lr=parse_mpp(at), size=size, mask=masks.get(source.slide_id))


def predict(options: argparse.Namespace) -> int:
    """Classify slides into a folder."""
    bundle = load_bundle(options.model)
    sources = slides_of(options)
    rows = show(
        predict_slides(
            sources,
            bundle,
            options.out,
            PredictOptions(
                device=options.device,
                batch_size=options.batch_size,
                threads=options.threads,
                uncertain_below=options.uncertain_below,
                subtract_bounds=options.subtract_bounds,
            ),
            tissue=masks_in(options.tissue, sources),
            inputs=inputs_of(options),
        ),
        console,
    )
    if options.json:
        print_json([asdict(row) for row in rows])
    else:
        print_rows(rows)
        printed.print(f"Model output, not a diagnosis. Table and attention maps: {options.out}", markup=False)
    return exit_code(sum(row.status == "failed" for row in rows), len(rows))


def case(options: argparse.Namespace) -> int:
    """Classify one slide and write what others need to look at it."""
    bundle = load_bundle(options.model)
    reviews = latest_reviews(log_at(options.reviews).reviews) if options.reviews else {}
    path = slide_path(options.slide)
    given = SlideSource(slide_id_of(path), path, mpp_of(options), options.use_objective_power)
    (source,) = with_checksums([given], options.checksums)
    require_case_writable(options.out, source, inputs_of(options))
    mask = masks_in(options.tissue, [source]).get(source.slide_id)
    with open_source(source) as slide:
        steps = predict_steps(slide, bundle, options.device, threads=options.threads, tissue=mask)
        prediction = show(steps, console)
        review = reviews.get((prediction.slide_fingerprint, prediction.bundle_sha256))
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
        console.print(f"No review of {prediction.slide_id} by this model in {options.reviews}.", markup=False)
    printed.print(f"Model output, not a diagnosis. Page: {page}", markup=False)
    return 0


def extract(options: argparse.Namespace) -> int:
    """Encode slides at one resolution."""
    sources = slides_of(options)  # before the encoder, which may have to be downloaded
    encoder = load_encoder(options.encoder, size=options.patch_size, embedding=options.embedding)
    grid = PatchPlan(mpp=parse_mpp(options.at), size=encoder.spec.size)
    refuse_mixed(options.out, (encoder_hash(encoder), grid.mpp, grid.size))
    steps = extract_features(
        sources,
        PatchEncoder(encoder, pick_device(options.device), batch_size=options.batch_size),
        encoder_hash(encoder),
        options.out,
        grid,
        threads=options.threads,
        inputs=inputs_of(options),
        tissue=masks_in(options.tissue, sources),
    )
    outcomes = show(steps, console)
    failed = sum(outcome.path is None for outcome in outcomes)
    for outcome in outcomes:
        printed.print(f"{outcome.slide_id}: {outcome.path or outcome.message}", markup=False)
        if options.trident and outcome.path:
            failed += not exported(outcome.path, options.out, Inputs(sources, inputs_of(options)))
    return exit_code(failed, len(outcomes))
