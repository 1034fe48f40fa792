"""One slide through a model: coarse levels alone are read, the answer does not depend on how, refusals say why."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch

from lrmil.demo.synthetic import make_slide
from lrmil.errors import ConfigError, ResolutionError, SlideError, TissueError
from lrmil.models.bundle import Bundle
from lrmil.models.heads.head import predict_bag
from lrmil.models.origins import keep_origins
from lrmil.prediction.inference import predict, predict_steps
from lrmil.prediction.prediction import Prediction
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from lrmil.slides.scanner import Scanner
from lrmil.slides.slide import Slide
from lrmil.steps import last
from support.recording import open_recorded
from support.runs import state_of, tiny_bundle
from support.slides import write_pyramid


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return tiny_bundle()


@pytest.fixture
def path(cohort: Path) -> Path:
    return cohort / "slides/demo-001.ome.tif"


@pytest.fixture
def slide(path: Path) -> Iterator[Slide]:
    with open_slide(path) as opened:
        yield opened


def value_at(raster: Raster, y: float, x: float) -> float:
    row, col = (
        int((at - corner) // cell) for at, corner, cell in zip((y, x), raster.origin_yx, raster.cell_yx, strict=True)
    )
    return float(raster.array[row, col])


def assert_same_answer(one: Prediction, other: Prediction) -> None:
    assert one.label == other.label and np.array_equal(one.patches.index, other.patches.index)
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    np.testing.assert_allclose(one.patch_attention, other.patch_attention, rtol=1e-4, atol=1e-7)


def test_no_finer_level_than_needed_is_read(path: Path, bundle: Bundle) -> None:
    """The model wants 2.0 um/px; level 0 has 0.5, level 1 has 2.0, level 2 has 8.0."""
    slide, reads = open_recorded(path)
    with slide:
        assert [round(level.downsample * slide.mpp, 3) for level in slide.levels] == [0.5, 2.0, 8.0]
        result = predict(slide, bundle, "cpu")
        levels = [read.level for read in reads]
        assert set(levels) == {1, 2} and levels.count(1) >= len(result.patches)
        reads.clear()
        predict(slide, replace(bundle, mpp=1.0), "cpu")
    assert 0 in {read.level for read in reads}


def test_the_answer_is_the_model_on_the_patches_of_the_slide(slide: Slide, bundle: Bundle) -> None:
    result = predict(slide, bundle, "cpu")
    corners = result.patches.level0_yx
    pixels = np.stack([slide.read_region(tuple(corner), (64, 64), 2.0) for corner in corners.tolist()])
    with torch.inference_mode():
        output = predict_bag(bundle.mil, bundle.encoder(torch.from_numpy(pixels).permute(0, 3, 1, 2)).embedding)
    assert list(result.probabilities) == ["no", "yes"]
    assert list(result.probabilities.values()) == pytest.approx(bundle.task.values(output.logits).tolist(), abs=1e-5)
    assert sum(result.probabilities.values()) == pytest.approx(1, abs=1e-9)
    assert result.label == max(result.probabilities, key=lambda name: result.probabilities[name])
    attention = np.exp(output.attention_logits) / np.exp(output.attention_logits).sum()
    np.testing.assert_allclose(result.patch_attention, attention, rtol=1e-3)
    assert result.patch_attention.sum() == pytest.approx(1) and np.ptp(result.patch_attention) > 0


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (7, 3), (64, 1)])
def test_batches_and_threads_do_not_matter(path: Path, bundle: Bundle, batch_size: int, threads: int) -> None:
    expected = predict(path, bundle, "cpu", batch_size=16, threads=2)
    assert_same_answer(predict(path, bundle, "cpu", batch_size=batch_size, threads=threads), expected)


def test_a_bundle_stays_as_it_was_loaded(path: Path) -> None:
    """Also while it is at work: two predictions take turns, Step by Step."""
    bundle = tiny_bundle()
    bundle.mil.train()  # as someone may leave it who trains it on
    before = state_of(bundle.encoder), state_of(bundle.mil)
    runs = [
        predict_steps(path, bundle, "cpu", batch_size=size, threads=size, uncertain_below=below, live=True)
        for size, below in ((4, 0.0), (7, 1.0))
    ]
    answers: list[Prediction | None] = [None, None]
    for steps in zip(*runs, strict=False):
        answers = [step.result for step in steps]
        assert (state_of(bundle.encoder), state_of(bundle.mil)) == before
    answers = [
        last(run) if answer is None or answer.status == "partial" else answer
        for run, answer in zip(runs, answers, strict=True)
    ]
    assert [answer.status for answer in answers if answer] == ["ok", "uncertain"]
    assert (state_of(bundle.encoder), state_of(bundle.mil)) == before


@pytest.mark.parametrize(
    "devices",
    [
        pytest.param(("cpu", "cpu"), id="cpu"),
        pytest.param(
            ("cpu", "cuda:0"),
            id="cuda",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ),
    ],
)
def test_two_threads_share_a_bundle(path: Path, cohort: Path, devices: tuple[str, str]) -> None:
    bundle, both = tiny_bundle(), Barrier(2)
    before = state_of(bundle.encoder), state_of(bundle.mil)
    paths = (path, cohort / "slides/demo-002.ome.tif")
    alone = [predict(one, bundle, device) for one, device in zip(paths, devices, strict=True)]

    def work(place: int) -> Prediction:
        both.wait(timeout=60)
        steps = predict_steps(paths[place], bundle, devices[place], batch_size=3 + place, threads=1 + place, live=True)
        return last(steps)

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(work, (0, 1)))
    for one, other in zip(together, alone, strict=True):
        assert_same_answer(one, other)
    assert (state_of(bundle.encoder), state_of(bundle.mil)) == before


def test_the_attention_under_a_point_is_that_of_the_patch_seen_there(slide: Slide, bundle: Bundle) -> None:
    result = predict(slide, bundle, "cpu")
    for corner, attention in zip(result.patches.level0_yx.tolist(), result.patch_attention, strict=True):
        for share in (0.01, 0.5, 0.99):
            y, x = (at + share * result.patches.size_level0 for at in corner)
            assert value_at(result.attention, y, x) == pytest.approx(attention, rel=1e-6)
    seen = np.isfinite(result.attention.array)
    assert seen.sum() == len(result.patches) and np.nansum(result.attention.array) == pytest.approx(1, abs=1e-5)


def test_attention_follows_the_tissue_not_the_order(slide: Slide, bundle: Bundle) -> None:
    """One patch stands out for the model: the raster is brightest there, in level-0 pixels of a slide of odd mpp."""
    tissue = Raster.on_lattice(np.ones((1, 1), bool), cell_level0=1024, origin_yx=(0, 0))
    result = predict(slide, bundle, "cpu", tissue=tissue)
    assert len(result.patches) == 16
    best = int(result.patch_attention.argmax())
    row, col = np.unravel_index(np.nanargmax(result.attention.array), result.attention.array.shape)
    corner = result.attention.to_level0 @ (row, col, 1)
    assert corner.tolist() == result.patches.level0_yx[best].tolist()


def test_an_open_slide_stays_open_and_a_path_does_not(slide: Slide, path: Path, bundle: Bundle) -> None:
    one = predict(slide, bundle, "cpu")
    assert slide.read_region((0, 0), (8, 8), 2.0).shape == (8, 8, 3)
    assert_same_answer(one, predict(str(path), bundle, "cpu"))
    again = predict(slide, bundle, "cpu")
    assert one.bytes_read and again.bytes_read is not None and again.bytes_read <= one.bytes_read


def test_what_else_is_told(slide: Slide, path: Path, bundle: Bundle) -> None:
    result = predict(path, replace(bundle, sha256="ab"), "cpu")
    assert (result.slide_id, result.mpp, result.status, result.failed_patches) == ("demo-001", 0.5, "ok", 0)
    assert result.mpp_source == slide.mpp_source
    assert (result.slide_fingerprint, result.bundle_sha256) == (slide.fingerprint, "ab")
    assert list(result.timings) == ["open", "tissue", "patches", "mil", "total"]
    parts = sum(seconds for stage, seconds in result.timings.items() if stage != "total")
    assert 0 < parts <= result.timings["total"] + 1e-6
    assert result.bytes_read is not None and 0 < result.bytes_read < 2 * path.stat().st_size


def test_an_unsure_answer_is_uncertain(path: Path, bundle: Bundle) -> None:
    highest = max(predict(path, bundle, "cpu").probabilities.values())
    assert predict(path, bundle, "cpu", uncertain_below=highest - 1e-3).status == "ok"
    assert predict(path, bundle, "cpu", uncertain_below=highest + 1e-3).status == "uncertain"


def test_the_steps_count_patches_and_can_be_stopped(slide: Slide, bundle: Bundle) -> None:
    steps = list(predict_steps(slide, bundle, "cpu", batch_size=4))
    total = steps[0].total
    assert total and [step.done for step in steps[:-1]] == [*range(4, total, 4), total]
    assert steps[-1].result is not None and len(steps[-1].result.patches) == total
    stopped = predict_steps(slide, bundle, "cpu", batch_size=4)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert_same_answer(predict(slide, bundle, "cpu"), last(steps))


def test_unreadable_patches_are_left_out_and_counted(
    slide: Slide, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(slide, bundle, "cpu")
    lost = tuple(whole.patches.level0_yx[2].tolist())
    read = Slide.read_region

    def torn(self: Slide, origin_yx: tuple[int, int], size_yx: tuple[int, int], mpp: float) -> object:
        if origin_yx == lost:
            raise SlideError("torn")
        return read(self, origin_yx, size_yx, mpp)

    monkeypatch.setattr(Slide, "read_region", torn)
    result = predict(slide, bundle, "cpu")
    kept = [place for place in range(len(whole.patches)) if place != 2]
    assert result.failed_patches == 1 and np.array_equal(result.patches.index, whole.patches.index[kept])
    assert np.isfinite(result.attention.array).sum() == len(kept)
    expected = whole.patch_attention[kept] / whole.patch_attention[kept].sum()
    np.testing.assert_allclose(result.patch_attention, expected, rtol=1e-4)
    with pytest.raises(SlideError, match="Got 1 of"):
        predict(slide, replace(bundle, max_failed=0.01), "cpu")


def test_a_slide_coarser_than_the_model_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    path = write_pyramid(tmp_path / "coarse.ome.tif", make_slide("negative", seed=0, size=1024).pixels, 2.5)
    with pytest.raises(ResolutionError, match=r"2 um/px. Got 2.5|2 um/px.*2\.5 um/px"):
        predict(path, bundle, "cpu")
    assert predict(path, bundle, "cpu", mpp=2.0).mpp == 2.0


def test_a_slide_without_tissue_is_refused_in_a_sentence(tmp_path: Path, bundle: Bundle) -> None:
    path = write_pyramid(tmp_path / "glass.ome.tif", np.full((1024, 1024, 3), 243, np.uint8))
    with pytest.raises(TissueError, match="min_tissue"):
        predict(path, bundle, "cpu")


def test_a_slide_without_resolution_needs_one(tmp_path: Path, bundle: Bundle) -> None:
    pixels = make_slide("positive", seed=0, size=1024).pixels
    path = write_pyramid(tmp_path / "bare.tif", pixels, None, style="plain")
    with pytest.raises(ResolutionError, match="mpp="):
        predict(path, bundle, "cpu")
    result = predict(path, bundle, "cpu", mpp=0.5)
    assert (result.mpp, result.mpp_source) == (0.5, "override")
    with pytest.raises(ResolutionError, match=r"0\.05"):
        predict(path, bundle, "cpu", mpp=500.0)


def test_a_device_that_is_not_there_is_refused(path: Path, bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"auto, .*cpu"):
        predict(path, bundle, "cuda:99")


def test_a_real_slide(shared: Path, bundle: Bundle) -> None:
    path = shared / "data/slides/CMU-1-Small-Region.svs"
    result = predict(path, bundle, "cpu")
    assert result.mpp == pytest.approx(0.499) and len(result.patches) > 40 and result.failed_patches == 0
    assert result.bytes_read is not None and result.bytes_read <= 2 * path.stat().st_size


def test_a_scanner_of_no_training_slide_is_noted(path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    known, other = Scanner("Aperio", "GT450"), Scanner("Hamamatsu", "C13220-01")
    knowing = replace(bundle, origins=keep_origins([None], [known], 0))
    assert predict(path, knowing, "cpu").notes == predict(path, bundle, "cpu").notes  # the slide states none
    for scanner, said in ((known, False), (other, True)):
        monkeypatch.setattr(Slide, "scanner", scanner)
        notes = predict(path, knowing, "cpu").notes
        assert any("The scanner Hamamatsu C13220-01 was in no training slide" in note for note in notes) == said
        assert not any("scanner" in note for note in predict(path, bundle, "cpu").notes)
