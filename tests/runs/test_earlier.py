"""Results of an earlier call are kept, put aside or replaced, and nothing else is touched."""

import shutil
from pathlib import Path

import pytest

from lrmil import cli
from lrmil.errors import OverwriteError
from lrmil.reports.run_report import write_report
from lrmil.runs.earlier import earlier_results
from lrmil.runs.train import train
from support.runs import TinyRun, tiny_config

CPU = ("--device", "cpu")


def lrmil(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.long
class TestFinishedRuns:
    @pytest.fixture
    def run(self, tiny_run: TinyRun, tmp_path: Path) -> Path:
        run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
        write_report(run)
        return run

    RESULTS = ("metrics.json", "predictions.csv", "report.html", "report.json")

    def results(self, folder: Path) -> dict[str, bytes]:
        plain = {name: (folder / name).read_bytes() for name in self.RESULTS if (folder / name).exists()}
        return plain | {f"model/{name}": data for name, data in content(folder / "model").items()}

    def test_the_same_again_changes_nothing(self, tiny_run: TinyRun, run: Path) -> None:
        model = run / "model/bundle.json"
        before, stamp = self.results(run), model.stat().st_mtime_ns
        train(tiny_run.slides, tiny_run.labels, run, tiny_config(), device="cpu")
        assert self.results(run) == before and model.stat().st_mtime_ns == stamp and earlier_results(run) == []

    def test_other_settings_keep_it_beside(self, tiny_run: TinyRun, run: Path) -> None:
        before, plan = self.results(run), (run / "plan.toml").read_bytes()
        train(tiny_run.slides, tiny_run.labels, run, tiny_config(stage2__lambda_hard=0.5), device="cpu")
        assert earlier_results(run) == [run / "earlier-1"] and self.results(run / "earlier-1") == before
        assert (run / "earlier-1/plan.toml").read_bytes() == plan
        assert self.results(run)["model/mil.safetensors"] != before["model/mil.safetensors"]
        second = self.results(run)
        train(tiny_run.slides, tiny_run.labels, run, tiny_config(stage2__lambda_hard=0.7), device="cpu")
        assert self.results(run / "earlier-2") == second and self.results(run / "earlier-1") == before

    def test_stopped_and_gone_on_with(self, tiny_run: TinyRun, run: Path) -> None:
        from lrmil.runs.train import train_steps

        before, config = self.results(run), tiny_config(stage2__lambda_hard=0.5)
        steps = train_steps(tiny_run.slides, tiny_run.labels, run, config, device="cpu")
        next(steps)
        steps.close()  # type: ignore[attr-defined]
        train(tiny_run.slides, tiny_run.labels, run, config, device="cpu")
        assert earlier_results(run) == [run / "earlier-1"] and self.results(run / "earlier-1") == before

    def test_replaced_when_asked_for(self, tiny_run: TinyRun, run: Path) -> None:
        config = tiny_config(stage2__lambda_hard=0.5)
        before = self.results(run)
        train(tiny_run.slides, tiny_run.labels, run, config, device="cpu", replace=True)
        assert earlier_results(run) == []
        assert self.results(run)["model/mil.safetensors"] != before["model/mil.safetensors"]

    def test_results_whose_model_was_moved_away_are_kept(self, tiny_run: TinyRun, run: Path, tmp_path: Path) -> None:
        (run / "model").rename(tmp_path / "in use")
        before = self.results(run)
        train(tiny_run.slides, tiny_run.labels, run, tiny_config(stage2__lambda_hard=0.5), device="cpu")
        assert self.results(run / "earlier-1") == before and (run / "model/bundle.json").is_file()

    def test_what_was_put_into_the_model_folder_is_kept(self, tiny_run: TinyRun, run: Path) -> None:
        (run / "model/README.md").write_text("the user's")
        train(tiny_run.slides, tiny_run.labels, run, tiny_config(), device="cpu")
        assert (run / "model/README.md").read_text() == "the user's"
        config = tiny_config(stage2__lambda_hard=0.5)
        before = self.results(run)
        with pytest.raises(OverwriteError, match="the folder 'model'"):
            train(tiny_run.slides, tiny_run.labels, run, config, device="cpu", replace=True)
        assert self.results(run) == before, "said before anything is trained"
        train(tiny_run.slides, tiny_run.labels, run, config, device="cpu")
        assert (run / "earlier-1/model/README.md").read_text() == "the user's"

    @pytest.mark.parametrize(
        "name",
        [
            *("plan.toml", "splits.csv", "metrics.json", "predictions.csv", "report.html", "report.json", "model"),
            *("environment.json", "problems.json", "changes.json", "steps.jsonl", "run.lock", "fold-0/teacher"),
            *("fold-0/teacher.checkpoint.safetensors", "fold-0/outputs", "shared/lr/.lrmil.lock", "stop"),
        ],
    )
    def test_a_file_in_the_way_stays(self, tiny_run: TinyRun, run: Path, name: str) -> None:
        path = run / name
        if path.is_dir():
            shutil.rmtree(path)
        path.write_text("the user's")
        settings = [f"--set={one}" for one in ("pretrained=false", "patch_size=64", "mpp_hr=1.0", "threads=1")]
        settings += [
            "--set=stage1.fit.steps=4",
            "--set=stage1.fit.interval=2",
            "--set=mil.fit.epochs=2",
            "--set=stage1.patches_per_epoch=32",
        ]
        lrmil("train", tiny_run.slides, tiny_run.labels, "--out", run, "--encoder", "test_resnet", *settings, *CPU)
        kept = [path] if name != "splits.csv" else [path, run / "splits-1.csv"]  # of a run of ours, it is drawn again
        assert "the user's" in [one.read_text() for one in kept if one.exists()]

    def test_the_labels_table_is_not_replaced(self, tiny_run: TinyRun, run: Path) -> None:
        shutil.copy(tiny_run.labels, run / "predictions.csv")
        before = content(run)
        with pytest.raises(OverwriteError, match=r"the input 'predictions\.csv'"):
            train(tiny_run.slides, run / "predictions.csv", run, tiny_config(), device="cpu")
        assert content(run) == before
