"""`lrmil train`: train from a folder of slides; write the model and the report."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import Commands, add_cohort, add_device, add_positive, command
from lrmil.presets import PRESETS, SUMMARIES

SUMMARY = "train from a folder of slides; run it again to resume a stopped run"
EXAMPLE = (
    "lrmil train slides labels.csv --out run --encoder hf-hub:timm/resnet50.a1_in1k --set stage1.weighting=uniform"
)


def add(commands: Commands) -> None:
    """Add the parser of `lrmil train`."""
    parser = command(commands, "train", SUMMARY, EXAMPLE, run)
    add_cohort(parser)
    add_positive(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder to write to or resume")
    settings = parser.add_mutually_exclusive_group()
    settings.add_argument("--config", type=Path, help="TOML file of settings")
    text = "; ".join(f"{name}: {summary}" for name, summary in SUMMARIES.items())
    settings.add_argument("--preset", default="default", choices=list(PRESETS), help=f"named settings; {text}")
    parser.add_argument("--encoder", help="a name from `lrmil encoders`, a timm name, hf-hub:owner/name or a folder")
    parser.add_argument("--student-encoder", help="encoder of the LR model (default: the same)")
    parser.add_argument("--mpp-hr", help="HR resolution in um/px, or 20x (default: 0.5)")
    parser.add_argument("--mpp-lr", help="LR resolution in um/px, or 5x (default: 2.0)")
    text = "side of a patch in pixels (default: the encoder's own; 256 if it takes any)"
    parser.add_argument("--patch-size", type=int, help=text)
    parser.add_argument("--folds", type=int, help="folds of the cross-validation (default: 5)")
    parser.add_argument("--seed", type=int, help="seed for everything random (default: 0)")
    text = "change any setting, such as mil.dropout=0.1; may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=text)
    text = "if a finished run is trained again, delete its results and model (default: keep them in RUN/earlier-1)"
    parser.add_argument("--replace", action="store_true", help=text)
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    """Train, write the model and the report, and print the three arms."""
    from lrmil.cli.options import config_of, inputs_of, table_options_of
    from lrmil.cli.printing import print_arms, stderr, stdout
    from lrmil.cli.progress import show
    from lrmil.reports.run_report import write_report
    from lrmil.runs.earlier import earlier_results
    from lrmil.runs.train import train_steps

    before = earlier_results(options.out)
    steps = train_steps(
        options.slides,
        options.labels,
        options.out,
        config_of(options),
        device=options.device,
        replace=options.replace,
        inputs=inputs_of(options),
        options=table_options_of(options),
    )
    done = show(steps, stderr)
    for kept in [folder for folder in earlier_results(options.out) if folder not in before]:
        stderr.print(f"The results and the model of the previous run are kept in {kept}.", markup=False)
    report = write_report(done.folder)
    print_arms(done.metrics)
    for slide_id, message in done.failed.items():
        stdout.print(f"Left out: {slide_id}: {message}", markup=False)
    stdout.print(f"Report: {report}\nModel: {done.model}", markup=False)
    stdout.print(f"Next: lrmil predict SLIDE --model {done.model} --out OUT", markup=False)
    return 1 if done.failed else 0
