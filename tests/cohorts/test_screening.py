"""A look at the slides: what cannot be used is told, copies are found, and slides of other tissue are not."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil import cli
from lrmil.cohorts.cohort import Cohort, SlideRecord, validate_cohort
from lrmil.cohorts.screening import (
    MAX_ASPECT_RATIO,
    MAX_PAIRS,
    MIN_CORRELATION,
    Screened,
    near_duplicates,
    screen_steps,
    sources_of,
    unusable,
)
from lrmil.slides.source import SlideSource, slide_id_of
from lrmil.steps import last
from lrmil.tasks.classification import Classification
from support.slides import write_pyramid


def look_at(*paths: Path, mpp: float | None = None) -> tuple[Screened, ...]:
    return last(screen_steps([SlideSource(slide_id_of(path), path) for path in paths], mpp=mpp))


def cohort_of(*paths: Path, **changes: tuple[str, ...]) -> Cohort:
    """One case each, all labelled "no", but for the values of `changes`."""
    slides = []
    for place, path in enumerate(paths):
        given = {name: values[place] for name, values in changes.items()}
        record = {"label": "no", "case_id": f"p{place}", **given}
        slides.append(SlideRecord(slide_id_of(path), path, **record))  # type: ignore[arg-type]
    return Cohort(tuple(slides), Classification(("no", "yes")))


@pytest.fixture
def first(cohort: Path, tmp_path: Path) -> Path:
    pixels = tifffile.imread(cohort / "slides" / "demo-000.ome.tif", key=0)[:1024, :1024]
    return write_pyramid(tmp_path / "demo-000.tif", pixels)


@pytest.fixture
def saved_anew(first: Path, tmp_path: Path) -> Path:
    """The same tissue in another format: JPEG, other tiles, other levels."""
    pixels = tifffile.imread(first, key=0)
    return write_pyramid(tmp_path / "anew.svs", pixels, tile=128, factors=(2, 8), compression="jpeg", style="aperio")


class TestLookalikes:
    def test_no_two_slides_of_a_cohort_look_the_same(self, cohort: Path) -> None:
        checked = validate_cohort(cohort / "slides", cohort / "labels.csv").cohort
        assert checked is not None
        looks = look_at(*(slide.path for slide in checked.slides), mpp=0.5)
        assert len(looks) == 12 and all(look.picture is not None and not look.problem for look in looks)
        assert near_duplicates(looks, checked) == [] and unusable(looks) == []

    def test_a_copy_under_another_name(self, first: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copy(first, tmp_path / "copy.ome.tif"))
        (problem,) = near_duplicates(look_at(first, copy), cohort_of(first, copy))
        assert problem.severity == "warning" and "'demo-000' and 'copy' are copies of one file." in problem.message
        assert "case_id" in problem.hint

    def test_a_slide_saved_anew(self, first: Path, saved_anew: Path) -> None:
        pair = (first, saved_anew)
        (problem,) = near_duplicates(look_at(*pair), cohort_of(*pair))
        assert problem.message == "Slides 'demo-000' and 'anew' look the same."

    def test_other_labels_and_other_folds_are_told(self, first: Path, saved_anew: Path) -> None:
        pair = (first, saved_anew)
        (problem,) = near_duplicates(look_at(*pair), cohort_of(*pair, label=("no", "yes")))
        assert "one is labelled 'no', the other 'yes'" in problem.message and "which label is right" in problem.hint
        (problem,) = near_duplicates(look_at(*pair), cohort_of(*pair, split=("train", "test")))
        assert "different parts (train, test)" in problem.message
        tested = {"demo-000": "fold-0", "anew": "fold-1"}
        (problem,) = near_duplicates(look_at(*pair), cohort_of(*pair), tested=tested)
        assert "different parts (fold-0, fold-1)" in problem.message

    def test_within_one_case_it_is_no_leak(self, first: Path, saved_anew: Path) -> None:
        pair = (first, saved_anew)
        (problem,) = near_duplicates(look_at(*pair), cohort_of(*pair, case_id=("p", "p")))
        assert "test" not in problem.hint

    def test_bare_glass_looks_like_nothing(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        paths = []
        for name in ("a", "b"):
            glass = rng.integers(238, 243, (512, 512, 3)).astype(np.uint8)
            paths.append(write_pyramid(tmp_path / f"{name}.tif", glass))
        assert near_duplicates(look_at(*paths), cohort_of(*paths)) == []

    def test_another_shape_is_another_slide(self, tmp_path: Path) -> None:
        ramp = np.linspace(0, 255, 512)[:, None, None] * np.ones((1, 512, 3))
        square = write_pyramid(tmp_path / "square.tif", ramp.astype(np.uint8))
        wide = write_pyramid(tmp_path / "wide.tif", np.repeat(ramp, 2, axis=1).astype(np.uint8))
        assert near_duplicates(look_at(square, wide), cohort_of(square, wide)) == []

    def test_many_pairs_are_counted(self, first: Path, tmp_path: Path) -> None:
        copies = [Path(shutil.copy(first, tmp_path / f"c{n}.ome.tif")) for n in range(60)]
        problems = near_duplicates(look_at(*copies), cohort_of(*copies))
        assert len(problems) == 51 and problems[-1].message == "9 more pairs of slides look the same."


def screened_slides(rng: np.random.Generator, count: int) -> list[Screened]:
    """Looks of which many share a file, a picture or a shape, and some lack one."""
    pictures = rng.normal(size=(4, 1024)).astype(np.float32)
    pictures -= pictures.mean(axis=1, keepdims=True)
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    return [
        Screened(
            f"s{number:03}",
            fingerprint=str(rng.choice(["", "a", "b", f"own {number}"])),
            aspect=float(rng.choice([1.0, 1.02, 1.03, 2.0])),
            picture=None if rng.random() < 0.2 else pictures[rng.integers(4)],
        )
        for number in range(count)
    ]


def naive_near_duplicates(looks: list[Screened]) -> tuple[list[str], int]:
    """What a loop over all pairs says: the beginnings of messages, and how many pairs there are."""
    files, pictures = [], []
    for content in dict.fromkeys(look.fingerprint for look in looks if look.fingerprint):
        names = [look.slide_id for look in looks if look.fingerprint == content]
        files += [f"Slides '{a}' and '{b}' are copies" for a, b in pairwise(names)]
    for place, one in enumerate(looks):
        for other in looks[place + 1 :]:
            if one.picture is None or other.picture is None or one.fingerprint == other.fingerprint:
                continue
            if (
                one.picture @ other.picture >= MIN_CORRELATION
                and 1 / MAX_ASPECT_RATIO <= one.aspect / other.aspect <= MAX_ASPECT_RATIO
            ):
                pictures.append(f"Slides '{one.slide_id}' and '{other.slide_id}' look the same")
    return (files + pictures)[:MAX_PAIRS], len(files + pictures)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_lookalikes_are_those_of_a_loop_over_all_pairs(count: int, seed: int) -> None:
    looks = screened_slides(np.random.default_rng(seed), count)
    messages = [
        problem.message for problem in near_duplicates(looks, cohort_of(*(Path(look.slide_id) for look in looks)))
    ]
    expected, total = naive_near_duplicates(looks)
    assert len(messages) == len(expected) + (total > MAX_PAIRS)
    assert all(message.startswith(start) for message, start in zip(messages, expected, strict=False))
    if total > MAX_PAIRS:
        assert messages[-1] == f"{total - MAX_PAIRS} more pairs of slides look the same."


class TestUnusable:
    def test_each_has_its_sentence_without_its_folder(self, first: Path, tmp_path: Path) -> None:
        pixels = tifffile.imread(first, key=0)
        (tmp_path / "text.svs").write_text("no slide")
        (tmp_path / "torn.ome.tif").write_bytes(first.read_bytes()[:20_000])
        write_pyramid(tmp_path / "unknown.tif", pixels, None)
        write_pyramid(tmp_path / "coarse.tif", pixels, 2.0)
        names = ["text.svs", "torn.ome.tif", "unknown.tif", "coarse.tif", "absent.svs"]
        looks = look_at(first, *(tmp_path / name for name in names), mpp=0.5)
        assert looks[0].problem == "" and all(look.problem for look in looks[1:])
        problems = unusable(looks)
        assert [problem.message.split("'")[1] for problem in problems] == [name.split(".")[0] for name in names]
        text = " ".join(problem.message for problem in problems)
        assert "um/px" in problems[2].message and "as fine as 0.5 um/px" in problems[3].message
        assert str(tmp_path) not in text and {problem.severity for problem in problems} == {"warning"}

    def test_an_override_of_the_table_is_used(self, first: Path, tmp_path: Path) -> None:
        path = write_pyramid(tmp_path / "unknown.tif", tifffile.imread(first, key=0), None)
        (look,) = last(screen_steps([SlideSource("unknown", path, 0.5)], mpp=0.5))
        assert look.problem == ""


class TestValidate:
    @pytest.fixture
    def folder(self, cohort: Path, tmp_path: Path) -> Path:
        slides = Path(shutil.copytree(cohort / "slides", tmp_path / "slides"))
        shutil.copy(slides / "demo-001.ome.tif", slides / "demo-011.ome.tif")
        (slides / "demo-002.ome.tif").write_bytes(b"")
        return slides

    def test_everything_comes_at_once(self, folder: Path, cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["validate", str(folder), str(cohort / "labels.csv")]) == 1  # one of 12 cannot be used
        out = capsys.readouterr().out
        assert "'demo-001'" in out and "copies" in out and "11 slides can be trained on" in out

    def test_slides_are_looked_at_also_where_the_table_has_errors(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "labels.csv").write_text("slide_id,label\ndemo-000,a\nghost,b\n")
        assert cli.main(["validate", str(folder), str(tmp_path / "labels.csv"), "--json"]) == 1
        out = capsys.readouterr().out
        assert "'ghost'" in out and "Slide 'demo-002':" in out
        report = validate_cohort(folder, tmp_path / "labels.csv")
        assert len(sources_of(folder, report)) == 12

    def test_the_table_alone(self, folder: Path, cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["validate", str(folder), str(cohort / "labels.csv"), "--table-only"]) == 0
        assert capsys.readouterr().out == "12 slides can be trained on.\n"


def test_a_picture_is_small_and_of_one_length(first: Path) -> None:
    (look,) = look_at(first)
    assert look.picture is not None and look.picture.shape == (1024,)
    assert np.linalg.norm(look.picture) == pytest.approx(1, abs=1e-5) and abs(look.picture.mean()) < 1e-4
    assert look.aspect == 1.0
