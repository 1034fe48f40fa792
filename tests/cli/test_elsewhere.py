"""Options for several processes and machines, as every command that takes them passes them on."""

from functools import partial
from pathlib import Path

import pytest

from lrmil.features.extraction import Extracted
from lrmil.models.bundle import load_bundle
from lrmil.models.elsewhere import SameBundle, SameEncoder
from lrmil.models.encoders import loading
from lrmil.prediction.table import PredictionRow
from lrmil.runs.train import Run
from lrmil.slides import workers
from lrmil.slides.each import IN_PROCESS
from lrmil.slides.shards import Shard
from lrmil.slides.workers import Workers
from support.cli import RunCli, stand_in, table

COMMANDS = ["predict", "extract", "evaluate"]


@pytest.fixture
def run(
    run_cli: RunCli, model: Path, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> partial[tuple[int, str, str]]:
    """Run one of the commands: its name, then further arguments."""
    monkeypatch.setattr(loading, "load_encoder", partial(loading.load_encoder, pretrained=False))
    labels = tmp_path / "labels.csv"
    labels.write_text("slide_id,label\ndemo-000,no\ndemo-001,yes\n")
    slides = [cohort / f"slides/demo-00{number}.ome.tif" for number in range(2)]
    arguments = {
        "predict": [*slides, "--model", model],
        "extract": [*slides, "--encoder", "test_vit", "--patch-size", 32],
        "evaluate": [cohort / "slides", labels, "--model", model],
    }

    def run_it(command: str, *more: object) -> tuple[int, str, str]:
        return run_cli(command, *arguments[command], "--out", tmp_path / "out", *more)

    return partial(run_it)


def stood_in(patch: pytest.MonkeyPatch, command: str) -> list[dict[str, object]]:
    if command == "extract":
        return stand_in(patch, "lrmil.features.extraction.extract_features", [Extracted("a", Path("a"))])
    row = PredictionRow("demo-001", "ok", "yes", {"no": 0.25, "yes": 0.75})
    module = {"predict": "batch", "evaluate": "evaluation"}[command]
    return stand_in(patch, f"lrmil.prediction.{module}.predict_slides", [row])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_arrives(
    run: partial[tuple[int, str, str]], command: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = stood_in(monkeypatch, command)
    assert run(command)[0] == 0
    assert run(command, "--workers", 2, "--threads", 5, "--device", "cuda:7")[0] == 0
    code, _, err = run(command, "--scheduler", "tcp://host:8786", "--threads", 5, "--shard", "2/3")
    assert code == 0 and "--shard" in err
    plain, local, remote = calls
    assert (plain["executor"], plain["load"], plain["shard"]) == (IN_PROCESS, None, None)
    assert (local["executor"], local["shard"]) == (Workers(2), None)
    assert (remote["executor"], remote["shard"]) == (Workers(scheduler="tcp://host:8786"), Shard(2, 3))
    if command == "extract":
        assert (local["threads"], remote["threads"]) == (2, 5)
        assert local["load"] == SameEncoder("test_vit", 32, "pooled", local["encoder_hash"], "cuda:7", 64)  # type: ignore[arg-type]
    else:
        assert (local["options"].threads, remote["options"].threads) == (2, 5)  # type: ignore[attr-defined]
        assert local["load"] == SameBundle(model, load_bundle(model).sha256, "cuda:7")
        assert remote["load"] == SameBundle(model, load_bundle(model).sha256, "auto")


def test_a_training_gets_workers_and_no_shard(
    run_cli: RunCli, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = stand_in(monkeypatch, "lrmil.runs.train.train_steps", Run(tmp_path, tmp_path / "model", {}, {}))
    monkeypatch.setattr("lrmil.reports.run_report.write_report", lambda folder: folder / "report.html")
    monkeypatch.setattr("lrmil.cli.printed_results.print_arms", lambda figures: None)
    monkeypatch.setattr("lrmil.runs.tested.measurement_of", lambda *of: None)
    arguments = ("train", cohort / "slides", cohort / "labels.csv", "--out", tmp_path)
    for more in ([], ["--workers", 2, "--device", "cpu"], ["--scheduler", "tcp://host:8786"]):
        assert run_cli(*arguments, *more)[0] == 0
    assert [call["executor"] for call in calls] == [IN_PROCESS, Workers(2), Workers(scheduler="tcp://host:8786")]
    assert [call["device"] for call in calls] == ["auto", "cpu", "auto"]
    assert run_cli(*arguments, "--shard", "1/2")[0] == 2


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("wrong", [["--workers", 0], ["--shard", "0/2"], ["--workers", 2, "--scheduler", "tcp://a:1"]])
def test_wrong_usage_is_refused(run: partial[tuple[int, str, str]], command: str, wrong: list[object]) -> None:
    assert run(command, *wrong)[0] == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_library_the_command_says_what_to_install(
    run: partial[tuple[int, str, str]], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    code, _, err = run(command, "--workers", 2)
    assert code == 1 and "napari-lrmil[cluster]" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_shards_leave_what_is_shared_to_the_call_that_gathers(
    run: partial[tuple[int, str, str]], command: str, tmp_path: Path
) -> None:
    out, cpu = tmp_path / "out", ["--device", "cpu"]
    tables = {"predict": {"predictions.csv"}, "extract": set(), "evaluate": {"predictions.csv", "evaluation.json"}}
    for number, slide_id in enumerate(("demo-000", "demo-001"), start=1):
        before = {path.name for path in out.iterdir()} if out.exists() else set()
        assert run(command, *cpu, "--shard", f"{number}/2")[0] == 0
        made = {path.name for path in out.iterdir() if not path.name.startswith(".")} - before
        assert made and all(name.startswith(slide_id) for name in made)
    before = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert run(command, *cpu)[0] == 0
    after = {path.name for path in out.iterdir()}
    assert after == before | tables[command] | {".lrmil.lock"}
    if tables[command]:
        assert [row["status"] for row in table(out / "predictions.csv")] == ["ok", "ok"]
