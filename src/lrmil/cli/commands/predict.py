"""`lrmil predict`: classify slides and write the predictions to a folder."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import (
    Commands,
    add_bounds,
    add_cases,
    add_checksums,
    add_computing,
    add_escalate,
    add_json,
    add_model,
    add_mpp,
    add_regions,
    add_tissue,
    add_workers,
    command,
    probability,
)
from lrmil.collector import without_collections

SUMMARY = "classify slides from low-resolution pixels"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil predict`."""
    parser = command(commands, "predict", SUMMARY, "lrmil predict a.svs b.svs --model run/model --out out", run)
    parser.add_argument("slides", nargs="+", type=Path, metavar="SLIDE", help="files or folders")
    add_model(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the predictions")
    add_mpp(parser)
    add_checksums(parser)
    add_bounds(parser)
    add_tissue(parser)
    add_regions(parser)
    text = "mark a slide as uncertain if its highest probability is below P"
    parser.add_argument("--uncertain-below", type=probability, default=0.0, metavar="P", help=text)
    add_cases(parser)
    add_escalate(parser)
    add_computing(parser)
    add_workers(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Classify slides. A slide that fails does not stop the others."""
    with without_collections():
        from dataclasses import asdict

        from lrmil.cli.elsewhere import executor_of, model_elsewhere, model_of, say_how_to_gather, threads_of
        from lrmil.cli.options import cases_of, given_in, inputs_of, slides_of
        from lrmil.cli.printed_results import print_patients, print_rows, print_thresholds
        from lrmil.cli.printing import exit_code, print_json, stderr, stdout
        from lrmil.cli.progress import show
        from lrmil.prediction.batch import predict_slides
        from lrmil.prediction.options import PredictOptions
        from lrmil.prediction.patients import answer_patients, require_patients_writable, write_patients

    executor, bundle = executor_of(options), model_of(options)
    sources = slides_of(options)
    case_of = cases_of(options, [source.slide_id for source in sources])
    if case_of is not None:
        require_patients_writable(options.out, sources, inputs_of(options))
    case_of = None if options.shard else case_of  # the call that gathers answers for the patients
    rows = show(
        predict_slides(
            sources,
            bundle,
            options.out,
            PredictOptions(
                device=options.device,
                batch_size=options.batch_size,
                threads=threads_of(options),
                uncertain_below=options.uncertain_below,
                subtract_bounds=options.subtract_bounds,
                escalate=options.escalate,
            ),
            tissue=given_in(options, sources),
            inputs=inputs_of(options),
            executor=executor,
            load=model_elsewhere(options, bundle),
            shard=options.shard,
        ),
        stderr,
    )
    patients = []
    if case_of is not None:
        patients = answer_patients(rows, case_of, bundle, uncertain_below=options.uncertain_below)
        write_patients(options.out, patients, bundle.task)
    if options.json:
        slides = [asdict(row) for row in rows]
        print_json(slides if case_of is None else {"patients": [asdict(one) for one in patients], "slides": slides})
    else:
        if case_of is not None:
            print_patients(patients)
        print_rows(rows, bundle.task)
        print_thresholds(rows, bundle)
        stdout.print(f"Model output, not a diagnosis. Table and attention maps: {options.out}", markup=False)
    say_how_to_gather(options)
    return exit_code(sum(row.status == "failed" for row in rows), len(rows))
