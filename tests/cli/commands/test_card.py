"""`lrmil card`: what a model folder says of itself, for people and for programs."""

import json
from pathlib import Path

from lrmil.models.bundle import load_bundle
from support.cli import RunCli


def test_a_model(run_cli: RunCli, model: Path) -> None:
    code, out, _ = run_cli("card", model)
    assert code == 0 and load_bundle(model).sha256 in out
    code, out, _ = run_cli("card", model, "--json")
    facts, bundle = json.loads(out), load_bundle(model)
    assert code == 0 and facts["sha256"] == bundle.sha256
    assert next(iter(facts)) == "classes" and facts["classes"] == list(bundle.classes) and "task" not in facts


def test_a_folder_without_one(run_cli: RunCli, tmp_path: Path) -> None:
    code, out, err = run_cli("card", tmp_path)
    assert code == 1 and out == "" and str(tmp_path) in err.replace("\n", "")
