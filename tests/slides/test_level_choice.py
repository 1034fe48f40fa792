"""Which level is read, and what is said where none is near the resolution that is asked for."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lrmil import cli
from lrmil.cohorts.labels import Problem
from lrmil.cohorts.screening import Screened, far_levels, screen_steps
from lrmil.runs import slide_encoding, train
from lrmil.slides.level_choice import coarsest_level, distance, far_notes, is_far
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.protocol import Level
from lrmil.slides.source import SlideSource, slide_id_of
from lrmil.steps import Step, last
from support.pictures import picture
from support.runs import tiny_config
from support.slides import write_pyramid


def levels(*downsamples: float) -> tuple[Level, ...]:
    return tuple(Level((round(4096 / one), round(4096 / one)), one, (256, 256)) for one in downsamples)


@pytest.mark.parametrize(
    ("downsamples", "own", "asked", "level", "times"),
    [
        ((1, 4, 16), 0.25, 2.0, 1, 2.0),
        ((1, 4, 16), 0.5, 2.0, 1, 1.0),
        ((1, 4.0005), 0.5, 2.0, 1, 1.0),
        ((1, 16), 0.5, 2.0, 0, 4.0),
        ((1,), 0.25, 2.0, 0, 8.0),
        ((1, 2), 2.1, 2.0, 0, 0.95),
    ],
)
def test_the_coarsest_that_is_fine_enough(
    downsamples: tuple[float, ...], own: float, asked: float, level: int, times: float
) -> None:
    assert coarsest_level(levels(*downsamples), own, asked) == level
    assert distance(levels(*downsamples), own, asked) == pytest.approx(times, rel=0.01)
    assert bool(far_notes(levels(*downsamples), own, [asked])) is is_far(times) is (times > 3)


def test_a_slide_says_so_once_it_was_read(tmp_path: Path) -> None:
    pixels = picture(512, 512)
    with open_slide(write_pyramid(tmp_path / "a.tif", pixels, factors=())) as slide:
        assert slide.notes == ()
        slide.read_region((0, 0), (64, 64), 0.5)
        slide.read_region((0, 0), (64, 64), 1.0)
        assert slide.notes == ()
        for _ in range(2):
            slide.read_region((0, 0), (64, 64), 2.0)
        assert slide.notes == (
            "No level is near 2 um/px. The finer level 0 (0.5 um/px) is read and averaged, which takes about 16 times "
            "as many pixels.",
        )
    with open_slide(write_pyramid(tmp_path / "b.tif", pixels, factors=(4,))) as slide:
        slide.read_region((0, 0), (64, 64), 2.0)
        assert slide.notes == ()


def test_inspect_says_which_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, factors, words in (("a", (), "level 0, 0.5 um/px"), ("b", (4,), "level 1, 2 um/px")):
        path = write_pyramid(tmp_path / f"{name}.tif", picture(512, 512), factors=factors)
        assert cli.main(["inspect", str(path), "--patch-size", "64"]) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert words in out and ("No level is near" in out) is (not factors)


class TestCohorts:
    @staticmethod
    def looks(tmp_path: Path, *pyramids: tuple[int, ...]) -> tuple[Screened, ...]:
        paths = [
            write_pyramid(tmp_path / f"{number}.tif", picture(512, 512, seed=number), factors=factors)
            for number, factors in enumerate(pyramids)
        ]
        return last(screen_steps([SlideSource(slide_id_of(path), path) for path in paths], lr=2.0))

    def test_a_mixed_one_is_warned_of(self, tmp_path: Path) -> None:
        (problem,) = far_levels(self.looks(tmp_path, (4,), (2, 4), ()), 2.0)
        assert problem.severity == "warning" and "site" in problem.hint
        assert problem.message.startswith("1 of 3 slides have no level near 2 um/px: '2'.")
        assert "16 times as many pixels" in problem.message and "mixed" in problem.message

    def test_one_without_such_levels_is_told(self, tmp_path: Path) -> None:
        (problem,) = far_levels(self.looks(tmp_path, (), ()), 2.0)
        assert "2 of 2 slides" in problem.message and "mixed" not in problem.message

    def test_others_are_not(self, tmp_path: Path) -> None:
        assert far_levels(self.looks(tmp_path, (4,), (2,)), 2.0) == []

    def test_validate_and_its_json(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.looks(tmp_path, (4,), (4,), (), ())
        (tmp_path / "labels.csv").write_text("slide_id,label,case_id\n0,a,p0\n1,b,p1\n2,a,p2\n3,b,p3\n")
        for lr, told in (("2.0", True), ("1.0", False)):
            call = ["validate", str(tmp_path), str(tmp_path / "labels.csv"), "--folds", "2", "--json", "--mpp-lr", lr]
            cli.main(call)
            assert ("mixed" in capsys.readouterr().out) is told


def test_a_level_of_a_slide_of_unknown_resolution_is_not_near_or_far(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", np.full((64, 64, 3), 200, np.uint8), None, factors=())
    (look,) = last(screen_steps([SlideSource("a", path)], lr=2.0))
    assert look.finer == 1.0 and far_levels((look,), 2.0) == []


def test_a_training_keeps_the_warning(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to where the problems are written."""
    written: list[str] = []

    def stop(out: Path, problems: list[Problem], failed: dict[str, str]) -> None:
        written.extend(problem.message for problem in problems)
        raise KeyboardInterrupt

    shutil.copytree(cohort / "slides", tmp_path / "slides")
    first = tmp_path / "slides" / "demo-000.ome.tif"
    write_pyramid(first, tifffile.imread(first, key=0), 0.5, factors=())
    monkeypatch.setattr(train, "write_problems", stop)
    nothing = Step(("extract",), 0, 0, result=[])
    monkeypatch.setattr(slide_encoding, "extract_features", lambda *_, **__: iter([nothing]))
    with pytest.raises(KeyboardInterrupt):
        list(train.train_steps(tmp_path / "slides", cohort / "labels.csv", tmp_path / "run", tiny_config()))
    (message,) = [message for message in written if "no level near 2 um/px" in message]
    assert message.startswith("1 of 12 slides") and "'demo-000'" in message and "mixed" in message
