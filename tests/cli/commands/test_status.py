"""`lrmil status`: how a training stands."""

import json
from pathlib import Path

import pytest

from lrmil import cli
from lrmil.runs.control import run_lock
from support.run_logs import LOG, write_split_rows

pytestmark = pytest.mark.long


class TestCommandLine:
    @pytest.mark.parametrize(("metrics", "at"), [({"step": 500.0}, "step 500"), ({}, "epoch 2")])
    def test_stage_1_is_at_a_step(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], metrics: dict[str, float], at: str
    ) -> None:
        line = {"time": 1.0, "job": ["fold-0", "stage 1"], "done": 500, "total": 3000, "unit": "steps"}
        line["metrics"] = {"train_loss": 0.5, "epoch": 2.0, **metrics}
        (tmp_path / "steps.jsonl").write_text(json.dumps(line) + "\n")
        write_split_rows(tmp_path, "fold-0")
        cli.main(["status", str(tmp_path)])
        assert f"latest losses: fold-0, lr_encoder, {at}: train_loss 0.5\n" in capsys.readouterr().out

    def test_status(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["status", str(tmp_path)]) == 1 and capsys.readouterr().out == "state: absent\n"
        write_split_rows(tmp_path, "fold-0", "fold-1", "final")
        (tmp_path / "steps.jsonl").write_bytes(LOG)
        with run_lock(tmp_path):
            assert cli.main(["status", str(tmp_path)]) == 0
            assert capsys.readouterr().out.splitlines() == [
                "state: running",
                "stage: fold-1: stage 1, patch distillation (3 of 9 steps), about 3 s left",
                "folds: fold-1 (2 of 2), then the final model, about 2 s left",
                "latest losses: fold-0, teacher, epoch 1: ",
                "message: so so",
            ]
            assert cli.main(["status", str(tmp_path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["state"], found["folds_done"], found["stage_seconds_left"]) == ("running", 1, 3.0)
        assert found["job"] == "fold-1: stage 1"  # text, whatever it is in the log
        assert found["epochs"] == [{"fold": "fold-0", "stage": "teacher", "epoch": 1, "metrics": {}, "step": 0}]
