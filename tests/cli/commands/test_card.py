"""`lrmil card`: what a model folder says of itself, for people and for programs."""

import json
from pathlib import Path

import pytest

from lrmil.models.bundle import load_bundle
from support.cli import RunCli


def test_a_model(run_cli: RunCli, model: Path) -> None:
    code, out, _ = run_cli("card", model)
    assert code == 0 and load_bundle(model).sha256 in out
    code, out, _ = run_cli("card", model, "--json")
    facts, bundle = json.loads(out), load_bundle(model)
    assert code == 0 and facts["sha256"] == bundle.sha256
    assert next(iter(facts)) == "classes" and facts["classes"] == list(bundle.classes) and "task" not in facts


@pytest.mark.parametrize(("name", "last"), [("tripod-ai", "| 27c |"), ("claim", "| 44 |")])
def test_a_checklist(run_cli: RunCli, model: Path, name: str, last: str) -> None:
    code, out, _ = run_cli("card", model, "--format", name)
    rows = [line for line in out.splitlines() if line.startswith("| ") and not line.startswith("| item")]
    assert code == 0 and out.startswith("# ") and rows[-1].startswith(last)
    assert all(line.count("To be filled") + line.count("To be completed") == 1 for line in rows)
    assert load_bundle(model).sha256 in out


def test_a_checklist_is_no_json(run_cli: RunCli, model: Path) -> None:
    assert run_cli("card", model, "--format", "claim", "--json")[0] == 2
    assert run_cli("card", model, "--format", "other")[0] == 2


def test_a_folder_without_one(run_cli: RunCli, tmp_path: Path) -> None:
    code, out, err = run_cli("card", tmp_path)
    assert code == 1 and out == "" and str(tmp_path) in err.replace("\n", "")
