"""The command line: quick to ask, exact in its exit codes, one sentence for each thing that went wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lrmil import cli
from lrmil.cli.parser import build_parser
from support.cli import CPU, RunCli
from support.paths import FORMATS
from support.slides import write_pyramid

COMMANDS = (
    *("demo", "inspect", "validate", "distil", "train", "status", "stop", "audit", "agreement", "labels-from-reviews"),
    *("predict", "case", "reviews", "card", "evaluate", "extract", "report", "export", "doctor", "encoders"),
)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


class TestUsage:
    @pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["predict"]], ids=" ".join)
    def test_help_and_wrong_usage_need_nothing_slow(self, arguments: list[str]) -> None:
        code = (
            "import sys, lrmil, lrmil.cli\n"
            f"try: lrmil.cli.main({arguments})\n"
            "except SystemExit: pass\n"
            "assert 'numpy' not in sys.modules\n"
            "lrmil.Step, lrmil.Raster, lrmil.LrmilError, dir(lrmil)\n"
            "slow = {'torch', 'timm', 'sklearn', 'zarr', 'dask', 'matplotlib', 'pydantic', 'rich', 'napari'}\n"
            "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
        )
        finished = python("-c", code)
        assert finished.returncode == 0, finished.stderr

    def test_commands_that_compute_nothing_need_no_torch(self, cohort: Path, tmp_path: Path) -> None:
        model, run, reviews = FORMATS / "bundle-1/sample", FORMATS / "run-1", FORMATS / "review-1/reviews.jsonl"
        slides = cohort / "slides"
        commands = {
            "encoders": ["encoders"],
            "card": ["card", model],
            "checklist": ["card", model, "--format", "claim"],
            "status": ["status", run],
            "stop": ["stop", run],
            "reviews": ["reviews", reviews],
            "agreement": ["agreement", reviews],
            "labels": ["labels-from-reviews", reviews, "--slides", slides, "--out", tmp_path / "labels.csv"],
            "inspect": ["inspect", slides / "demo-000.ome.tif"],
            "validate": ["validate", slides, cohort / "labels.csv"],
            "export": ["export", FORMATS / "features-1", "--to", "trident", "--out", tmp_path / "h5"],
        }
        code = (
            "import json, sys, lrmil.cli\n"
            "for name, arguments in json.loads(sys.argv[1]).items():\n"
            "    code = lrmil.cli.main(arguments)\n"
            "    slow = [one for one in ('torch', 'timm', 'torchvision') if one in sys.modules]\n"
            "    sys.stderr.write(f'\\nDONE {name} {code} {slow}\\n')\n"
        )
        plain = {name: [str(one) for one in arguments] for name, arguments in commands.items()}
        finished = python("-c", code, json.dumps(plain))
        said = [line for line in finished.stderr.splitlines() if line.startswith("DONE")]
        failing = {"stop", "labels"}  # nothing runs there; the reviews are of other slides
        assert said == [f"DONE {name} {int(name in failing)} []" for name in commands], finished.stderr

    def test_help_lists_every_command_in_its_group(self, run_cli: RunCli) -> None:
        code, out, _ = run_cli("--help")
        groups: dict[str, list[str]] = {}
        for line in out.split("\n\n")[2].splitlines():
            if line.startswith("  "):
                assert len(line) <= 80 and line.split(maxsplit=1)[1]
                groups[list(groups)[-1]].append(line.split()[0])
            else:
                groups[line.removesuffix(":")] = []
        assert code == 0 and list(groups) == ["slides", "models", "runs", "records"]
        assert sorted(name for names in groups.values() for name in names) == sorted(COMMANDS)
        assert groups["slides"] == ["inspect", "predict", "case", "extract"]

    def test_it_runs_as_a_module(self) -> None:
        finished = python("-m", "lrmil", "--version")
        assert finished.returncode == 0 and finished.stdout.startswith("lrmil ")

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_has_an_example_that_parses(self, command: str, run_cli: RunCli) -> None:
        code, out, _ = run_cli(command, "--help")
        assert code == 0
        example = out.split("Example: ")[1].splitlines()[0].split()
        assert example[:2] == ["lrmil", command]
        assert build_parser().parse_args(example[1:]).command == command

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
            ["predict", "a", "--model", "m", "--out", "o", "--threads", "-1"],
            ["case", "a", "--model", "m", "--out", "o", "--top", "0"],
            ["inspect", "a", "--patch-size", "0"],
            ["reviews", "log", "--json", "--csv", "out.csv"],
            ["predict", "a", "--model", "m", "--out", "o", "--uncertain-below", "2"],
            ["predict", "a", "--model", "m", "--out", "o", "--uncertain-below", "nan"],
            ["predict", "a", "--model", "m", "--out", "o", "--uncertain-below", "-0.1"],
        ],
    )
    def test_wrong_usage_is_2(self, arguments: list[str], run_cli: RunCli) -> None:
        code, _, err = run_cli(*arguments)
        assert code == 2 and "usage: lrmil" in err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["predict", "a.svs", "--model", "no-model", "--out", "out"],
            ["inspect", "empty"],
            ["inspect", "empty", "--json"],
            ["inspect", "SLIDE", "--at", "fine"],
            ["inspect", "SLIDE", "--at", "0", "--json"],
            ["validate", "SLIDES", "LABELS", "--mpp-hr", "fine", "--table-only"],
            ["validate", "SLIDES", "LABELS", "--mpp-hr", "2.0", "--mpp-lr", "0.5"],
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
        self,
        arguments: list[str],
        run_cli: RunCli,
        model: Path,
        cohort: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
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
    def test_a_terminal_obeys_no_name(self, run_cli: RunCli, cohort: Path, model: Path, tmp_path: Path) -> None:
        slide = tmp_path / "\x1b[31mred\x07.ome.tif"
        shutil.copy(cohort / "slides/demo-001.ome.tif", slide)
        for arguments in (["inspect", slide], ["predict", slide, "--model", model, "--out", tmp_path / "out", *CPU]):
            code, out, err = run_cli(*arguments)
            assert code == 0 and "\\x1b[31mred\\x07" in out and not {"\x1b", "\x07"} & set(out + err)

    def test_stopping_by_the_keyboard_is_130(self, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
        def stopped(options: object) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr("lrmil.cli.commands.doctor.run", stopped)
        code, out, err = run_cli("doctor")
        assert code == 130 and not out and len(err.splitlines()) == 1


def test_the_environment_of_the_tests_is_not_read_by_the_core() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in Path(cli.__file__).parents[1].rglob("*.py")}
    assert len(sources) > 100
    assert not [path.name for path, text in sources.items() if re.search(r"(?<!-)\benviron\b|getenv", text)]
