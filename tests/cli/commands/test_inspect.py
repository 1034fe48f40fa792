"""`lrmil inspect`: facts of slides, and a bad one does not stop the others."""

import json
from pathlib import Path

from support.cli import RunCli


def test_inspect(run_cli: RunCli, cmu: Path) -> None:
    code, out, _ = run_cli("inspect", cmu, "--json", "--at", "5x", "--patch-size", "128")
    (facts,) = json.loads(out)
    assert code == 0 and facts["status"] == "ok" and facts["path"] == str(cmu)
    assert (facts["width"], facts["height"], facts["mpp"]) == (2220, 2967, 0.499)
    assert facts["mpp_source"] == "aperio MPP" and facts["reader"] == "tifffile" and facts["tissue_mm2"] > 0.3
    assert facts["lr_patches"].endswith("of 128 px at 2 um/px") and int(facts["lr_patches"].split()[0]) > 5
    assert int(facts["hr_patches"].split()[0]) > 4 * int(facts["lr_patches"].split()[0])
    code, out, _ = run_cli("inspect", cmu)
    assert code == 0 and "mpp_source: aperio MPP" in out


def test_inspect_goes_on_after_bad_files(run_cli: RunCli, cmu: Path, shared: Path) -> None:
    broken = sorted((shared / "data/slides/errors").iterdir())
    code, out, err = run_cli("inspect", *broken, cmu, "--json")
    facts = {Path(facts["path"]).name: facts for facts in json.loads(out)}
    assert code == 1 and "3 of 4 failed" in err
    assert facts[cmu.name]["status"] == "ok" and len(facts) == 4
    for path in broken:
        failed = facts[path.name]
        assert (
            failed["status"] == "failed"
            and failed["reason"] in ("file", "resolution")
            and "\n" not in failed["message"]
        )
