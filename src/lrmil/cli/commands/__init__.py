"""What each command of `lrmil` does; every function takes the parsed options and gives the exit code."""

from lrmil.cli.commands.encoders import encoders
from lrmil.cli.commands.records import card, doctor, export, reviews
from lrmil.cli.commands.slides import case, extract, inspect, predict
from lrmil.cli.commands.training import demo, evaluate, report, status, stop, train, validate

__all__ = [
    "card",
    "case",
    "demo",
    "doctor",
    "encoders",
    "evaluate",
    "export",
    "extract",
    "inspect",
    "predict",
    "report",
    "reviews",
    "status",
    "stop",
    "train",
    "validate",
]
