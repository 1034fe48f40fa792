"""`lrmil train`: train from a folder of slides; write the model and the report."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import (
    Commands,
    add_cohort,
    add_device,
    add_positive,
    add_settings,
    add_workers,
    command,
    share,
)
from lrmil.collector import without_collections

SUMMARY = "train from a folder of slides, or resume a stopped run"
EXAMPLE = (
    "lrmil train slides labels.csv --out run --encoder hf-hub:timm/resnet50.a1_in1k --set stage1.weighting=uniform"
)


def add(commands: Commands) -> None:
    """Add the parser of `lrmil train`."""
    parser = command(commands, "train", SUMMARY, EXAMPLE, run)
    add_cohort(parser)
    add_positive(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder to write to or resume")
    add_settings(parser)
    parser.add_argument("--folds", type=int, help="folds of the cross-validation (default: 5)")
    text = "how the threshold of two classes is chosen: youden (default), sensitivity=0.95, specificity=0.95, costs=5:1"
    parser.add_argument("--operating-point", metavar="RULE", help=text)
    text = (
        "share of the cases, such as 0.2, to keep aside as test part: the very model that is shipped is tested then "
        "(default: 0, folds)"
    )
    parser.add_argument("--test-fraction", type=share, help=text)
    text = (
        "keep the HR teacher in the model, so that `predict --escalate` can look closer at uncertain slides "
        "(default: it is left out)"
    )
    parser.add_argument("--with-teacher", action="store_true", help=text)
    text = "if a finished run is trained again, delete its results and model (default: keep them in RUN/earlier-1)"
    parser.add_argument("--replace", action="store_true", help=text)
    text = "refuse a --student-encoder of `lrmil distil` that has seen a test slide (default: the report says so)"
    parser.add_argument("--strict", action="store_true", help=text)
    add_device(parser)
    add_workers(parser, shards=False)


def run(options: argparse.Namespace) -> int:
    """Train, write the model and the report, and print the three arms."""
    with without_collections():
        from lrmil.cli.elsewhere import executor_of
        from lrmil.cli.options import config_of, inputs_of, table_options_of
        from lrmil.cli.printed_results import print_arms
        from lrmil.cli.printing import stderr, stdout
        from lrmil.cli.progress import show
        from lrmil.reports.closer_look import why_not_kept
        from lrmil.reports.run_report import write_report
        from lrmil.runs.earlier import earlier_results
        from lrmil.runs.tested import measurement_of
        from lrmil.runs.train import train_steps
        from lrmil.tasks.choice import kind_in

    before = earlier_results(options.out)
    steps = train_steps(
        options.slides,
        options.labels,
        options.out,
        config_of(options),
        device=options.device,
        replace=options.replace,
        strict=options.strict,
        inputs=inputs_of(options),
        options=table_options_of(options),
        executor=executor_of(options),
    )
    done = show(steps, stderr)
    for kept in [folder for folder in earlier_results(options.out) if folder not in before]:
        stderr.print(f"The results and the model of the previous run are kept in {kept}.", markup=False)
    report = write_report(done.folder)
    print_arms(done.metrics)
    if tested := measurement_of({}, done.metrics, kind_in(done.metrics)):
        stdout.print(tested.sentence, markup=False)
    if why := why_not_kept(done.metrics):
        stdout.print(why, markup=False)
    for slide_id, message in done.failed.items():
        stdout.print(f"Left out: {slide_id}: {message}", markup=False)
    stdout.print(f"Report: {report}\nModel: {done.model}", markup=False)
    stdout.print(f"Next: lrmil predict SLIDE --model {done.model} --out OUT", markup=False)
    return 1 if done.failed else 0
