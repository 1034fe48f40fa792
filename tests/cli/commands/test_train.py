"""`lrmil train` and `lrmil report`: model, figures and page."""

import json
import shutil
from pathlib import Path

import pytest

from lrmil.cohorts.cohort import TableOptions
from lrmil.io.settings import write_toml
from lrmil.models.bundle import load_bundle
from lrmil.runs.arms import ARMS
from lrmil.runs.train import Run
from support.cli import CPU, RunCli, stand_in, table
from support.runs import TINY, TinyRun, stamp_of, tiny_config


def test_train_writes_model_and_report(run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path) -> None:
    """A finished run goes on: nothing is trained again, the report is written."""
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    named = ("encoder", "mpp_hr")
    options = [f"--set={name}={json.dumps(value)}" for name, value in TINY.items() if name not in named]
    arguments = ["train", tiny_run.slides, tiny_run.labels, "--out", run, "--encoder", "test_resnet"]
    options += ["--mpp-hr", "10x"]
    before = stamp_of(run / "fold-0/lr_student/artefact.json")
    code, out, err = run_cli(*arguments, *options, *CPU)
    assert code == 0, err
    assert "AUROC" in out and f"Model: {run / 'model'}" in out and (run / "report.html").is_file()
    assert stamp_of(run / "fold-0/lr_student/artefact.json") == before
    (run / "report.html").unlink()
    assert run_cli("report", run)[0] == 0 and (run / "report.html").is_file()


@pytest.mark.long
def test_train_and_evaluate_on_a_registry_s_table(run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path) -> None:
    """Other column names, more rows than slides, patients with slides of both classes, the other class positive."""
    by_split: dict[str, list[dict[str, str]]] = {}
    for row in table(tiny_run.labels):
        by_split.setdefault(row["split"], []).append(row)
    lines = ["Scan,Pat. no.,Finding,label,split"]
    for split, rows in by_split.items():
        rows.sort(key=lambda row: row["slide_id"])
        lines += [f"{row['slide_id']},{split}-{n // 3},{row['label']},?,{split}" for n, row in enumerate(rows)]
    lines += [f"elsewhere-{n},p{n},{'?' if n else 'benign'},?,{'train' if n else ''}" for n in range(3)]
    labels = tmp_path / "registry.csv"
    labels.write_text("\n".join(lines) + "\n")
    columns = ["--slide-column", "Scan", "--case-column", "pat. no.", "--label-column", "Finding"]
    config = tmp_path / "tiny.toml"
    write_toml(config, tiny_config(mil__fit__epochs=1, stage1__fit__steps=2))
    train = ("train", tiny_run.slides, labels, "--out", tmp_path / "run", "--config", config, *columns, *CPU)
    code, _, err = run_cli(*train)
    assert code == 1 and "--skip-missing" in err and "elsewhere-2" in err
    code, out, err = run_cli("validate", tiny_run.slides, labels, *columns, "--skip-missing", "--mpp-hr", "1")
    assert code == 0 and "12 slides can be trained on" in out
    code, _, err = run_cli(*train, "--skip-missing", "--positive", "negative")
    assert code == 0 and "3 rows are skipped" in err.replace("\n", " ")
    assert "have different labels" in err.replace("\n", " ")
    assert load_bundle(tmp_path / "run/model").classes == ("positive", "negative")
    figures = json.loads((tmp_path / "run/metrics.json").read_text())
    tested = len(by_split["test"])
    assert figures["lr_student"]["n_slides"] == tested
    assert figures["lr_student"]["n_cases"] == -(-tested // 3) < tested
    rows = table(tmp_path / "run/predictions.csv")
    own = {row["slide_id"]: row["label"] for row in table(tiny_run.labels)}
    assert all(row["label"] == own[row["slide_id"]] for row in rows)

    evaluate = ("evaluate", tiny_run.slides, labels, "--model", tmp_path / "run/model", "--json", *columns, *CPU)
    assert run_cli(*evaluate, "--out", tmp_path / "out")[0] == 1
    code, out, err = run_cli(*evaluate, "--skip-missing", "--out", tmp_path / "out")
    assert code == 0 and json.loads(out)["part"]["name"] == "test" and "elsewhere-2" in err.replace("\n", " ")
    for name in ("n_slides", "n_cases", "confusion", "recall", "accuracy", "undefined"):
        assert json.loads(out)["metrics"][name] == figures["lr_student"][name]
    code, out, err = run_cli(*evaluate, "--skip-missing", "--out", tmp_path / "out", "--part", "all")
    assert code == 0 and json.loads(out)["metrics"]["n_slides"] == 12


def test_every_option_arrives(run_cli: RunCli, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, config = tmp_path / "run", tmp_path / "tiny.toml"
    write_toml(config, tiny_config(folds=4, seed=9))
    (out / "earlier-1").mkdir(parents=True)
    lacking = {"calibration": None, "reason": "inner_folds is 0"}
    closer = {"regions": 4, "by_fold": {"fold-0": lacking}, "curve": None}
    done = Run(out, out / "model", {**dict.fromkeys(ARMS), "escalation": closer}, {"demo-002": "torn"})
    calls = stand_in(monkeypatch, "lrmil.runs.train.train_steps", done)
    stand_in(monkeypatch, "lrmil.reports.run_report.write_report", out / "page.html")
    columns = ["--slide-column", "a", "--case-column", "b", "--label-column", "c", "--skip-missing"]
    named = ["--student-encoder", "test_vit", "--mpp-hr", "20x", "--mpp-lr", "4", "--patch-size", 128, "--folds", 3]
    last = ["--set", "seed=5", "--set", " mil.dropout = 0.5", "--seed", 7, "--positive", "negative"]
    more = [
        "--config",
        config,
        "--encoder",
        "test_resnet",
        "--device",
        "cuda:7",
        "--replace",
        "--strict",
        "--task",
        "classification",
    ]
    arguments = ["train", cohort / "slides", cohort / "labels.csv", "--out", out]
    code, text, err = run_cli(*arguments, *columns, *named, *last, *more)
    assert code == 1 and "Left out: demo-002: torn" in text and str(out / "page.html") in text
    assert "The model does not keep its teacher, because the teacher is not calibrated" in text.replace("\n", " ")
    assert "earlier-1" not in err, "it was there before"
    (call,) = calls
    assert (call["slides"], call["labels"], call["out"]) == (cohort / "slides", cohort / "labels.csv", out)
    expected = {"student_encoder": "test_vit", "mpp_hr": 0.5, "mpp_lr": 4.0, "patch_size": 128, "folds": 3}
    assert call["config"] == tiny_config(**expected, seed=5, mil__dropout=0.5), "--set comes last, the file first"
    assert (call["device"], call["replace"], call["strict"]) == ("cuda:7", True, True)
    assert set(call["inputs"]) == {cohort / "labels.csv", config}
    assert call["options"] == TableOptions(
        slide_column="a",
        case_column="b",
        label_column="c",
        skip_missing=True,
        positive="negative",
        task="classification",
    )
