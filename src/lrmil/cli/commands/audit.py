"""`lrmil audit`: show that no test slide of a run is in what it tests, and that no file was changed."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import Commands, add_json, command
from lrmil.collector import without_collections

SUMMARY = "check that nothing of a run's test slides leaked"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil audit`."""
    parser = command(commands, "audit", SUMMARY, "lrmil audit run", run)
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="run folder")
    text = "also ask all networks of the run again; reads the features of all slides"
    parser.add_argument("--answers", action="store_true", help=text)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print what an audit of a run found, one line each; the exit code is 1 if it found anything."""
    with without_collections():
        from dataclasses import asdict

        from lrmil.cli.printing import print_json, stdout
        from lrmil.runs.audit import audit_run

    found = audit_run(options.run_folder, answers=options.answers)
    if options.json:
        findings = [finding._asdict() for finding in found.findings]
        print_json({"ok": found.ok, **asdict(found), "findings": findings})
        return 0 if found.ok else 1
    for where, message in found.findings:
        stdout.print(f"{where}: {message}", markup=False)
    for note in found.notes:
        stdout.print(note, markup=False)
    audited = f"{found.artefacts} artefacts of {found.folds} folds, {found.slides} test slides"
    verdict = "no leak and no change was found" if found.ok else f"{len(found.findings)} findings, listed above"
    stdout.print(f"{audited}: {verdict}.", markup=False)
    return 0 if found.ok else 1
