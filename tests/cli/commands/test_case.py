"""`lrmil case`, `lrmil reviews` and `lrmil card`: one slide with what a person said of it."""

import json
from dataclasses import replace
from pathlib import Path

from lrmil.models.bundle import load_bundle
from lrmil.reviews.log import Review, append_review
from lrmil.slides.opening import open_slide
from support.cli import CPU, RunCli, table


def test_a_case_with_its_review_and_the_model_s_card(run_cli: RunCli, cmu: Path, model: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "case", tmp_path / "reviews.jsonl"
    code, text, _ = run_cli("case", cmu, "--model", model, "--out", out, *CPU)
    assert code == 0 and "not a diagnosis" in text and str(out / f"{cmu.stem}.html") in text
    (row,) = table(out / f"{cmu.stem}.csv")
    assert row["decision"] == ""
    bundle, fingerprint = load_bundle(model), open_slide(cmu).fingerprint
    said = Review(
        event="review",
        slide_id=cmu.stem,
        slide_fingerprint=fingerprint,
        bundle_sha256=bundle.sha256,
        output_label=row["label"],
        output_probabilities={name: float(row[f"prob_{name}"]) for name in bundle.classes},
        output_status="ok",
        decision="agree",
        human_label=row["label"],
        note="seen",
    )
    append_review(log, said)
    code, _, _ = run_cli("case", cmu, "--model", model, "--out", out, "--reviews", log, "--top", "2", *CPU)
    assert code == 0 and table(out / f"{cmu.stem}.csv")[0]["note"] == "seen"
    code, text, _ = run_cli("reviews", log, "--json")
    assert code == 0 and [one["note"] for one in json.loads(text)["reviews"]] == ["seen"]
    code, text, _ = run_cli("reviews", log)
    assert code == 0 and "agree" in text and "seen" in text
    with log.open("ab") as file:
        file.write(b'{"torn')
    code, text, err = run_cli("reviews", log, "--csv", tmp_path / "reviews.csv")
    assert code == 0 and text.strip() == str(tmp_path / "reviews.csv") and err.split()[-1] == "2", "the torn line"
    (said_again,) = table(tmp_path / "reviews.csv")
    assert said_again["note"] == "seen" and said_again["prob_yes"] == row["prob_yes"]
    other = tmp_path / "other.jsonl"
    append_review(other, replace(said, bundle_sha256="another model"))
    code, _, err = run_cli("case", cmu, "--model", model, "--out", out, "--reviews", other, *CPU)
    assert code == 0 and cmu.stem in err and table(out / f"{cmu.stem}.csv")[0]["note"] == ""
    code, text, _ = run_cli("card", model, "--json")
    assert code == 0 and json.loads(text)["sha256"] == bundle.sha256
    code, text, _ = run_cli("card", model)
    assert code == 0 and "no, yes" in text and bundle.sha256 in text
