"""The command line: quick to ask, exact in its exit codes, one sentence for each thing that went wrong."""

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lrmil import cli
from lrmil.io.settings import write_toml
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.reviews.log import Review, append_review
from lrmil.slides.slide import open_slide
from support.runs import TINY, TinyRun, stamp_of, tiny_bundle, tiny_config
from support.slides import write_pyramid

COMMANDS = (
    *("demo", "inspect", "validate", "train", "status", "stop"),
    *("predict", "case", "reviews", "card", "evaluate", "extract", "report", "export", "doctor", "encoders"),
)
CPU = ["--device", "cpu"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    save_bundle(folder, tiny_bundle())
    return folder


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Run the command line in this process: exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return code, captured.out, captured.err

    return run


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


class TestUsage:
    def test_help_and_import_need_no_torch(self) -> None:
        code = (
            "import sys, lrmil, lrmil.cli\n"
            "try: lrmil.cli.main(['--help'])\n"
            "except SystemExit as error: assert not error.code\n"
            "lrmil.Step, lrmil.Raster, lrmil.LrmilError, dir(lrmil)\n"
            "heavy = {'torch', 'timm', 'sklearn', 'zarr', 'dask', 'napari'} & set(sys.modules)\n"
            "assert not heavy, heavy\n"
        )
        finished = python("-c", code)
        assert finished.returncode == 0, finished.stderr
        assert all(command in finished.stdout for command in COMMANDS)

    def test_it_runs_as_a_module(self) -> None:
        finished = python("-m", "lrmil", "--version")
        assert finished.returncode == 0 and finished.stdout.startswith("lrmil ")

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_has_an_example_that_parses(self, command: str, run_cli) -> None:  # type: ignore[no-untyped-def]
        code, out, _ = run_cli(command, "--help")
        assert code == 0
        example = out.split("Example: ")[1].splitlines()[0].split()
        assert example[:2] == ["lrmil", command]
        assert cli.build_parser().parse_args(example[1:]).command == command

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["no-such"],
            ["predict"],
            ["inspect"],
            ["train", "a", "b"],
            ["predict", "a", "--model", "m", "--out"],
            ["predict", "a", "--model", "m", "--out", "o", "--batch-size", "0"],
            ["extract", "a", "--encoder", "e", "--out", "o", "--batch-size", "many"],
            ["predict", "a", "--model", "m", "--out", "o", "--threads", "0"],
            ["case", "a", "--model", "m", "--out", "o", "--top", "0"],
            ["reviews", "log", "--json", "--csv", "out.csv"],
            ["predict", "a", "--model", "m", "--out", "o", "--uncertain-below", "2"],
            ["predict", "a", "--model", "m", "--out", "o", "--uncertain-below", "nan"],
            ["predict", "a", "--model", "m", "--out", "o", "--uncertain-below", "-0.1"],
        ],
    )
    def test_wrong_usage_is_2(self, arguments: list[str], run_cli) -> None:  # type: ignore[no-untyped-def]
        code, _, err = run_cli(*arguments)
        assert code == 2 and "usage: lrmil" in err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["predict", "a.svs", "--model", "no-model", "--out", "out"],
            ["inspect", "empty"],
            ["inspect", "empty", "--json"],
            ["predict", "empty", "--model", "MODEL", "--out", "out"],
            ["predict", "SLIDE", "--model", "MODEL", "--out", "out", "--device", "cuda:99"],
            ["predict", "SLIDE", "--model", "MODEL", "--out", "out", "--mpp", "fine"],
            ["predict", "SLIDE", "--model", "MODEL", "--out", "out", "--mpp", ""],
            ["predict", "SLIDE", "--model", "MODEL", "--out", "out", "--mpp", "6"],
            ["predict", "SLIDE", "--model", "MODEL", "--out", "file", *CPU],
            ["predict", "SLIDE", "--model", "MODEL", "--out", "file/inside", *CPU],
            ["validate", "empty", "no.csv"],
            ["validate", "empty", "labels.csv", "--folds", "1"],
            ["train", "empty", "labels.csv", "--out", "run", "--config", "no.toml"],
            ["train", "empty", "labels.csv", "--out", "run", "--set", "mil.no_such=1"],
            ["train", "empty", "labels.csv", "--out", "run", "--set", "nonsense"],
            ["train", "empty", "labels.csv", "--out", "run", "--mpp-lr", "3.3x.5"],
            ["extract", "empty", "--encoder", "test_vit", "--out", "out"],
            ["extract", "SLIDE", "--encoder", "no_such_network", "--out", "out", *CPU],
            ["report", "empty"],
            ["stop", "empty"],
            ["reviews", "no.jsonl"],
            ["card", "empty"],
            ["case", "SLIDE", "--model", "MODEL", "--out", "case", "--reviews", "no.jsonl", *CPU],
            ["case", "SLIDE", "--model", "MODEL", "--out", "file", *CPU],
            ["case", "SLIDE", "--model", "MODEL", "--out", "file/inside", *CPU],
            ["train", "SLIDES", "LABELS", "--out", "file", *CPU],
            ["case", "no.svs", "--model", "MODEL", "--out", "case", *CPU],
            ["export", "empty", "--to", "trident", "--out", "out"],
        ],
        ids=lambda arguments: " ".join(arguments),
    )
    def test_what_cannot_be_done_is_one_sentence_and_1(
        self, arguments: list[str], run_cli, model: Path, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:  # type: ignore[no-untyped-def]
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").write_text("")
        (tmp_path / "labels.csv").write_text("slide_id,label\na,b\n")
        slide = cohort / "slides/demo-001.ome.tif"
        places = {"MODEL": model, "SLIDE": slide, "SLIDES": cohort / "slides", "LABELS": cohort / "labels.csv"}
        given = [str(places.get(argument, argument)) for argument in arguments]
        code, _, err = run_cli(*given)
        assert code == 1
        assert err.strip().startswith(f"lrmil {arguments[0]}: ") and len(err.strip().splitlines()) <= 3
        assert not err.strip().startswith(f"lrmil {arguments[0]}: [Errno")

    def test_a_cut_slide_is_told_in_our_words_alone(self, tmp_path: Path) -> None:
        """In a process of its own: pytest catches what is logged before it can reach a terminal."""
        pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
        path = write_pyramid(tmp_path / "a.tif", pixels, tile=128, factors=(2, 4))
        with tifffile.TiffFile(path) as tif:
            os.truncate(path, tif.series[0].levels[1].pages[0].offset)
        done = python("-m", "lrmil", "inspect", str(path))
        assert done.returncode == 0 and "levels may be missing" in done.stdout and done.stderr == ""
        assert "ERROR" in python("-m", "lrmil", "-v", "inspect", str(path)).stderr, "for those who ask for more"

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
    def test_a_terminal_obeys_no_name(self, run_cli, cohort: Path, model: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        slide = tmp_path / "\x1b[31mred\x07.ome.tif"
        shutil.copy(cohort / "slides/demo-001.ome.tif", slide)
        for arguments in (["inspect", slide], ["predict", slide, "--model", model, "--out", tmp_path / "out", *CPU]):
            code, out, err = run_cli(*arguments)
            assert code == 0 and "\\x1b[31mred\\x07" in out and not {"\x1b", "\x07"} & set(out + err)

    def test_stopping_by_the_keyboard_says_how_to_go_on(self, run_cli, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
        from lrmil.cli import commands

        def stopped(options: object) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr(commands, "doctor", stopped)
        code, _, err = run_cli("doctor")
        assert code == 130 and "goes on from there" in err


class TestRealSlides:
    @pytest.fixture
    def cmu(self, shared: Path) -> Path:
        return shared / "data/slides/CMU-1-Small-Region.svs"

    def test_inspect(self, run_cli, cmu: Path) -> None:  # type: ignore[no-untyped-def]
        code, out, _ = run_cli("inspect", cmu, "--json", "--at", "5x", "--patch-size", "128")
        (facts,) = json.loads(out)
        assert code == 0 and facts["status"] == "ok" and facts["path"] == str(cmu)
        assert (facts["width"], facts["height"], facts["mpp"]) == (2220, 2967, 0.499)
        assert facts["mpp_source"] == "aperio MPP" and facts["reader"] == "tifffile" and facts["tissue_mm2"] > 0.3
        assert facts["lr_patches"].endswith("of 128 px at 2 um/px") and int(facts["lr_patches"].split()[0]) > 5
        assert int(facts["hr_patches"].split()[0]) > 4 * int(facts["lr_patches"].split()[0])
        code, out, _ = run_cli("inspect", cmu)
        assert code == 0 and "mpp_source: aperio MPP" in out

    def test_inspect_goes_on_after_bad_files(self, run_cli, cmu: Path, shared: Path) -> None:  # type: ignore[no-untyped-def]
        broken = sorted((shared / "data/slides/errors").iterdir())
        code, out, err = run_cli("inspect", *broken, cmu, "--json")
        facts = {Path(facts["path"]).name: facts for facts in json.loads(out)}
        assert code == 1 and "3 of 4 failed" in err
        assert facts[cmu.name]["status"] == "ok" and len(facts) == 4
        for path in broken:
            message = facts[path.name]["message"]
            assert facts[path.name]["status"] == "failed" and message.startswith("Expected ") and "\n" not in message

    def test_predict_goes_on_after_bad_files(  # type: ignore[no-untyped-def]
        self, run_cli, cmu: Path, shared: Path, model: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        broken = sorted((shared / "data/slides/errors").iterdir())
        code, text, err = run_cli("predict", *broken, cmu, "--model", model, "--out", out, *CPU)
        rows = {row["slide_id"]: row for row in table(out / "predictions.csv")}
        assert code == 1 and "3 of 4 failed" in err and "not a diagnosis" in text
        columns = ["slide_id", "status", "label", "prob_no", "prob_yes", "mpp", "mpp_source", "n_patches"]
        assert list(rows[cmu.stem]) == [
            *columns,
            "failed_patches",
            "seconds",
            "reason",
            "checksum",
            "notes",
            "model",
            "message",
        ]
        assert rows[cmu.stem]["status"] == "ok" and rows[cmu.stem]["mpp"] == "0.499"
        assert all(rows[path.stem]["status"] == "failed" and rows[path.stem]["message"] for path in broken)
        for ending in (".attention.ome.zarr/zarr.json", ".geojson", ".png"):
            assert (out / f"{cmu.stem}{ending}").is_file()
        before = stamp_of(out / f"{cmu.stem}.json")
        code, text, _ = run_cli("predict", cmu, "--model", model, "--out", out, "--json", *CPU)
        (row,) = json.loads(text)
        assert code == 0 and row["slide_id"] == cmu.stem and sum(row["probabilities"].values()) == pytest.approx(1)
        assert stamp_of(out / f"{cmu.stem}.json") == before
        code, _, err = run_cli("predict", cmu, "--model", model, "--out", tmp_path / "o2", "--tissue", out, *CPU)
        assert code == 1 and f"{cmu.stem}.tissue.ome.zarr" in err

    def test_a_case_with_its_review_and_the_model_s_card(  # type: ignore[no-untyped-def]
        self, run_cli, cmu: Path, model: Path, tmp_path: Path
    ) -> None:
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
        assert code == 0 and text.strip() == str(tmp_path / "reviews.csv") and "passed over: 2" in " ".join(err.split())
        (said_again,) = table(tmp_path / "reviews.csv")
        assert said_again["note"] == "seen" and said_again["prob_yes"] == row["prob_yes"]
        other = tmp_path / "other.jsonl"
        append_review(other, replace(said, bundle_sha256="another model"))
        code, _, err = run_cli("case", cmu, "--model", model, "--out", out, "--reviews", other, *CPU)
        assert code == 0 and "No review of" in err and table(out / f"{cmu.stem}.csv")[0]["note"] == ""
        code, text, _ = run_cli("card", model, "--json")
        assert code == 0 and json.loads(text)["sha256"] == bundle.sha256
        code, text, _ = run_cli("card", model)
        assert code == 0 and "no, yes" in text and bundle.sha256 in text

    def test_extract_and_export(self, run_cli, cmu: Path, shared: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        encoder = f"local-dir:{shared / 'weights/mobilenetv2_100'}"
        options = ["--encoder", encoder, "--at", "5x", "--patch-size", "128", "--out", tmp_path / "f", *CPU]
        broken = shared / "data/slides/errors/histolab_broken.svs"
        code, text, _ = run_cli("extract", broken, cmu, *options, "--trident")
        assert code == 1 and (tmp_path / f"f/{cmu.stem}.zarr/zarr.json").is_file()
        assert f"{cmu.stem}: " in text and "histolab_broken: Expected" in text
        before = stamp_of(tmp_path / f"f/{cmu.stem}.zarr/zarr.json")
        assert run_cli("extract", cmu, *options)[0] == 0
        assert stamp_of(tmp_path / f"f/{cmu.stem}.zarr/zarr.json") == before
        code, _, text = run_cli("extract", cmu, *[{"128": "64"}.get(str(one), one) for one in options])
        assert code == 1 and "one encoder and one grid" in text and "64 px" in text
        assert stamp_of(tmp_path / f"f/{cmu.stem}.zarr/zarr.json") == before
        (tmp_path / "f/a.attention.ome.zarr").mkdir()  # a prediction's map, in a folder used for both
        assert run_cli("export", tmp_path / "f", "--to", "trident", "--out", tmp_path / "h5")[0] == 0
        one, other = (tmp_path / folder / f"{cmu.stem}.h5" for folder in ("f", "h5"))
        assert one.stat().st_size == other.stat().st_size > 1000


class TestCohorts:
    def test_validate_lists_every_problem(self, run_cli, cohort: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        code, out, _ = run_cli("validate", cohort / "slides", cohort / "labels.csv", "--json")
        assert code == 0 and json.loads(out) == {"ok": True, "problems": []}
        code, out, _ = run_cli("validate", cohort / "slides", cohort / "labels.csv")
        assert code == 0 and "12 slides can be trained on" in out
        (tmp_path / "labels.csv").write_text((cohort / "labels.csv").read_text().replace("demo-003", "demo-3000"))
        code, out, _ = run_cli("validate", cohort / "slides", tmp_path / "labels.csv", "--json")
        report = json.loads(out)
        assert code == 1 and not report["ok"]
        (error,) = [problem for problem in report["problems"] if problem["severity"] == "error"]
        assert (error["row"], error["column"]) == (5, "slide_id") and "demo-3000" in error["message"] and error["hint"]
        code, out, _ = run_cli("validate", cohort / "slides", tmp_path / "labels.csv")
        assert code == 1 and "demo-3000" in out and "Mend the errors" in out

    def test_train_writes_model_and_report(self, run_cli, tiny_run: TinyRun, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
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

    def test_evaluate(self, run_cli, tiny_run: TinyRun, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        slides = tmp_path / "slides"
        slides.mkdir()
        rows = tiny_run.labels.read_text().splitlines()
        for name in ("demo-008", "demo-009", "demo-010"):
            shutil.copy(tiny_run.slides / f"{name}.ome.tif", slides)
        (slides / "demo-010.ome.tif").write_bytes(b"torn")
        kept = ("slide_id", "demo-008", "demo-009", "demo-010")
        wanted = [",".join(row.split(",")[:3]) for row in rows if row.startswith(kept)]
        (tmp_path / "labels.csv").write_text("\n".join(wanted) + "\n")
        arguments = ["evaluate", slides, tmp_path / "labels.csv", "--model", tiny_run.folder / "model", *CPU]
        code, out, err = run_cli(*arguments, "--out", tmp_path / "out", "--json")
        assert out, err
        found = json.loads(out)
        assert code == 1 and list(found["failed"]) == ["demo-010"]
        assert found["metrics"]["n_slides"] == 2 and found["metrics"]["auroc"] in (0.0, 0.5, 1.0)
        assert json.loads((tmp_path / "out/evaluation.json").read_text())["metrics"] == found["metrics"]
        text = (tmp_path / "labels.csv").read_text().replace("positive", "strange")
        (tmp_path / "labels.csv").write_text(text)
        code, _, err = run_cli(*arguments)
        assert code == 1 and "strange" in err and "negative, positive" in err

    @pytest.mark.long
    def test_train_and_evaluate_on_a_registry_s_table(self, run_cli, tiny_run: TinyRun, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
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
        write_toml(config, tiny_config(mil__fit__epochs=1, stage1__fit__epochs=1))
        train = ("train", tiny_run.slides, labels, "--out", tmp_path / "run", "--config", config, *columns, *CPU)
        code, _, err = run_cli(*train)
        assert code == 1 and "--skip-missing" in err and "elsewhere-2" in err
        code, out, err = run_cli("validate", tiny_run.slides, labels, *columns, "--skip-missing", "--mpp-hr", "1")
        assert code == 0 and "12 slides can be trained on" in out
        code, _, err = run_cli(*train, "--skip-missing", "--positive", "negative")
        assert code == 0 and "3 rows are left out, since there is no such slide" in err.replace("\n", " ")
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
        assert code == 0 and json.loads(out)["metrics"]["n_slides"] == 12
        assert "3 rows are left out" in err.replace("\n", " ")

    def test_doctor(self, run_cli) -> None:  # type: ignore[no-untyped-def]
        code, out, _ = run_cli("doctor", "--json")
        facts = json.loads(out)
        assert code == 0 and facts["versions"]["torch"] and facts["devices"][-1]["name"] == "cpu"
        assert run_cli("doctor")[0] == 0


def test_magnification_stands_for_a_resolution(run_cli, model: Path, cohort: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    slide = cohort / "slides/demo-001.ome.tif"
    options = ["--model", model, "--out", tmp_path / "out", "--json", *CPU]
    code, out, _ = run_cli("predict", slide, *options, "--mpp", "20x")
    (row,) = json.loads(out)
    assert code == 0 and (row["mpp"], row["mpp_source"]) == (0.5, "override")


def test_the_environment_of_the_tests_is_not_read_by_the_core() -> None:
    sources = Path(cli.__file__).parent.rglob("*.py")
    assert not [path.name for path in sources if "os.environ" in path.read_text() or "getenv" in path.read_text()]
    assert os.environ is not None
