"""`lrmil evaluate`: measure a model on labelled slides."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import (
    Commands,
    add_checksums,
    add_cohort,
    add_computing,
    add_escalate,
    add_json,
    add_model,
    add_mpp_table,
    add_power,
    add_workers,
    command,
)
from lrmil.collector import without_collections

SUMMARY = "measure a model on labelled slides"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil evaluate`."""
    parser = command(commands, "evaluate", SUMMARY, "lrmil evaluate slides labels.csv --model m", run)
    add_cohort(parser)
    add_model(parser)
    text = "part of the table, by its column split (default: test if it has test slides, else all)"
    parser.add_argument("--part", default="", choices=["train", "val", "test", "all"], help=text)
    parser.add_argument("--out", type=Path, help="folder for the predictions (default: name of LABELS + .predictions)")
    add_mpp_table(parser)
    add_power(parser)
    add_checksums(parser)
    add_escalate(parser)
    add_computing(parser)
    add_workers(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the metrics of a model on labelled slides."""
    with without_collections():
        from lrmil.cli.elsewhere import executor_of, model_elsewhere, model_of, say_how_to_gather, threads_of
        from lrmil.cli.options import inputs_of, mpp_table_of, table_options_of, with_checksums
        from lrmil.cli.printed_results import print_sites, print_summary
        from lrmil.cli.printing import exit_code, print_json, print_lines, stderr, stdout
        from lrmil.cli.progress import show
        from lrmil.prediction.evaluation import evaluate_steps
        from lrmil.prediction.options import PredictOptions
        from lrmil.slides.discovery import find_slides
        from lrmil.slides.source import SlideSource, slide_id_of

    executor = executor_of(options)
    out = options.out or options.labels.with_suffix(".predictions")
    found = [SlideSource(slide_id_of(path), path) for path in find_slides(options.slides)]
    stated = with_checksums(found, options.checksums)
    bundle = model_of(options)
    steps = evaluate_steps(
        options.slides,
        options.labels,
        bundle,
        out,
        PredictOptions(
            device=options.device,
            batch_size=options.batch_size,
            threads=threads_of(options),
            escalate=options.escalate,
        ),
        mpp=mpp_table_of(options, [source.slide_id for source in found]),
        objective_power=options.use_objective_power,
        checksums={source.slide_id: source.checksums for source in stated},
        inputs=inputs_of(options),
        table=table_options_of(options),
        part=options.part,
        executor=executor,
        load=model_elsewhere(options, bundle),
        shard=options.shard,
    )
    result = show(steps, stderr)
    if options.json:
        print_json(result.to_dict())
    else:
        failed = f" Without {len(result.failed)} that failed." if result.failed else ""
        stdout.print(f"{result.part.explain()}{failed}", markup=False)
        print_summary(result.metrics, bundle.task, result.case_rule)
        if result.by_site:
            print_sites(result.by_site, bundle.task)
        for sentence in filter(None, (result.abstained, result.closer, result.remark, *result.unseen)):
            stdout.print(sentence, markup=False)
        print_lines({f"Failed: {slide_id}": message for slide_id, message in result.failed.items()})
    say_how_to_gather(options)
    return exit_code(len(result.failed), len(result.failed) + result.classified)
