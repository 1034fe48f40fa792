"""`lrmil agreement`: the figures as a table and as JSON, and what the logs lack."""

import json
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from lrmil.reviews.log import append_review
from support.cli import RunCli
from support.reviews import entry

LABELS = ["yes", "no", "yes", "yes", "no", "no"]
OUTPUT = ["yes", "no", "no", "yes", "yes", "no"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Reviews of two readers, one of whom answers first."""
    path = tmp_path / "reviews.jsonl"
    for number, (label, output) in enumerate(zip(LABELS, OUTPUT, strict=True)):
        about = {"slide_id": f"s{number}", "slide_fingerprint": f"f{number}", "output_label": output}
        said = {"decision": "agree" if label == output else "override", "human_label": label, "seconds_viewed": 4.0}
        first = {"event": "read", "decision": None, "human_label": "yes", "human_first": True, "reviewer": "[r]"}
        append_review(path, entry(**about, **first))
        append_review(path, entry(**about, **said, human_first=True, reviewer="[r]", note="Zzyzx-Canary"))
        append_review(
            path, entry(**about, **(said | {"decision": "agree", "human_label": output}), reviewer="q\x1b[31m")
        )
    return path


def test_for_programs(run_cli: RunCli, log: Path, tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("slide_id,patient\ns0,p\ns1,p\ns2,q\ns3,q\ns4,r\n")
    code, out, err = run_cli("agreement", log, "--cases", tmp_path / "cases.csv", "--json")
    found = json.loads(out)
    assert code == 0 and "Zzyzx" not in out + err and found["slides_without_case"] == ["s5"]
    (model,) = found["models"]
    by_name = {one["reader"]["name"]: one["figures"] for one in model["readers"]}
    figures = by_name["[r]"]
    assert figures["with_model"]["kappa"] == pytest.approx(cohen_kappa_score(LABELS, OUTPUT))
    assert figures["with_model"]["cases"] == 4 and len(figures["with_model"]["interval"]) == 2
    assert (figures["switches"]["answered"], figures["switches"]["changed"], figures["seconds"]["median"]) == (6, 3, 4)
    assert model["confusion"] == {"labels": ["no", "yes"], "counts": [[5, 1], [1, 5]]}
    assert [one["name"] for one in found["pairs"][0]["readers"]] == ["[r]", "q\x1b[31m"]
    assert found["not_in_the_logs"] == ["How long a reader looked before the output was shown is not recorded."]


def test_for_people(run_cli: RunCli, log: Path, tmp_path: Path) -> None:
    code, out, err = run_cli("agreement", log, log)
    words = " ".join(out.split())
    assert code == 0 and "Zzyzx" not in out + err and "\x1b" not in out
    assert "reader [r]" in words and "0.333" in words and "before the output was shown is not recorded" in words
    with log.open("ab") as file:
        file.write(b"damaged\n")
    assert "cannot be read: 19" in " ".join(run_cli("agreement", log)[1].split())


def test_an_empty_log_and_one_class_alone(run_cli: RunCli, tmp_path: Path) -> None:
    log = tmp_path / "reviews.jsonl"
    log.touch()
    code, out, _ = run_cli("agreement", log)
    assert code == 1 and "no review" in out
    assert run_cli("agreement", log, "--json")[0] == 1
    append_review(log, entry())
    code, out, _ = run_cli("agreement", log)
    assert code == 0 and "'yes' alone" in out and "not defined" in out
    assert run_cli("agreement", tmp_path / "absent.jsonl")[0] == 1 and run_cli("agreement")[0] == 2


def test_a_table_of_cases_that_cannot_be_used(run_cli: RunCli, log: Path, tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("name,who\ns0,p\n")
    code, _, err = run_cli("agreement", log, "--cases", tmp_path / "cases.csv")
    assert code == 1 and "--slide-column" in err
    chosen = ["--slide-column", "name", "--case-column", "who"]
    assert run_cli("agreement", log, "--cases", tmp_path / "cases.csv", *chosen)[0] == 0
