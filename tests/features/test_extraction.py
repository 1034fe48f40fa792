"""Slides to features: finished ones are passed over, bad ones are told, unreadable patches are counted and left out."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lrmil.errors import SlideError
from lrmil.features import chosen_patches, slide_features
from lrmil.features.extraction import Extracted, extract_features
from lrmil.features.store import read_card, read_features
from lrmil.geometry import parent_of
from lrmil.models.encoders.loading import PatchEncoder, encoder_hash
from lrmil.patches import plan
from lrmil.patches.masks import given_mask
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.patches.tissue import GivenMask, Tissue, segment_tissue
from lrmil.raster import Raster
from lrmil.slides.dask_workers import DIED, DaskWorkers
from lrmil.slides.each import IN_PROCESS
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.each_models import tiny_patch_encoder
from support.each_work import Poisoned
from support.runs import stamp_of, tiny_encoder
from support.slides import overwrite, segment_of

CPU = torch.device("cpu")
PLAN = PatchPlan(mpp=2.0, size=64, children=2)


class Extractor:
    """Extracts into one folder and collects the slides whose tissue was looked at: those that were computed."""

    def __init__(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out = out
        self.computed: list[str] = []
        real = plan.patches_of

        def spied(slide: Slide, plan: PatchPlan, *masks: Tissue) -> object:
            self.computed.append(slide.slide_id)
            return real(slide, plan, *masks)

        monkeypatch.setattr(chosen_patches, "patches_of", spied)

    def __call__(
        self,
        slides: list[SlideSource],
        *,
        plan: PatchPlan = PLAN,
        seed: int = 0,
        resolution: str = "lr",
        tissue: dict[str, Raster | GivenMask] | None = None,
        inputs: Sequence[Path] = (),
        **options: object,
    ) -> list[Extracted]:
        self.computed.clear()
        encoder = tiny_encoder(seed=seed)
        patch_encoder = PatchEncoder(encoder, CPU, batch_size=5, **options)  # type: ignore[arg-type]
        steps = extract_features(
            slides,
            patch_encoder,
            encoder_hash(encoder),
            self.out,
            plan,
            resolution=resolution,  # type: ignore[arg-type]
            tissue=tissue,
            inputs=inputs,
        )
        return last(steps)


@pytest.fixture
def extract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Extractor:
    return Extractor(tmp_path / "features", monkeypatch)


def unreadable(monkeypatch: pytest.MonkeyPatch, wanted: set[tuple[int, int]]) -> None:
    """Let patches at these level-0 corners fail."""
    read = Slide.read_region

    def torn(self: Slide, origin_yx: tuple[int, int], size_yx: tuple[int, int], mpp: float) -> object:
        if origin_yx in wanted:
            raise SlideError("torn")
        return read(self, origin_yx, size_yx, mpp)

    monkeypatch.setattr(Slide, "read_region", torn)


def test_features_are_the_encoder_on_the_patches_of_the_slide(extract: Extractor, slides: list[SlideSource]) -> None:
    outcomes = extract(slides[:1], layers=(0, -1))
    assert outcomes == [Extracted("demo-000", extract.out / "demo-000.zarr")]
    features = read_features(extract.out / "demo-000.zarr", layers=True)
    with open_slide(slides[0].path) as slide:
        patches = patches_of(slide, PLAN)
        assert np.array_equal(features.index, patches.index) and len(patches) > 10
        encoder = tiny_encoder()
        for place in (0, len(patches) - 1):
            pixels = slide.read_region(tuple(patches.level0_yx[place]), (64, 64), 2.0)
            with torch.inference_mode():
                output = encoder(torch.from_numpy(pixels).permute(2, 0, 1)[None], (0, -1))
            np.testing.assert_allclose(features.embeddings[place], output.embedding[0], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(features.layers[0][place], output.class_tokens[0][0], rtol=2e-3, atol=1e-3)
            np.testing.assert_allclose(features.layers[-1][place], output.class_tokens[1][0], rtol=2e-3, atol=1e-3)
        card = features.card
        assert (card.mpp, card.size, card.slide_mpp, card.total, card.failed) == (2.0, 64, 0.5, len(patches), 0)
        assert card.slide_fingerprint == slide.fingerprint and card.encoder_hash == encoder_hash(encoder)
        assert card.seconds > 0 and card.bytes_read and card.reading == slide_features.EXTRACTION_VERSION


def test_every_high_resolution_patch_lies_in_a_low_resolution_one(
    extract: Extractor, slides: list[SlideSource]
) -> None:
    extract(slides[:1])
    lr = read_features(extract.out / "demo-000.zarr")
    extract.out = extract.out.with_name("hr")
    extract(slides[:1], resolution="hr")
    hr = read_features(extract.out / "demo-000.zarr")
    parents, slots = parent_of(hr.index, 2)
    cells = {tuple(cell) for cell in lr.index.tolist()}
    assert {tuple(parent) for parent in parents.tolist()} <= cells and set(slots.tolist()) == {0, 1, 2, 3}
    assert len(lr.index) < len(hr.index) <= 4 * len(lr.index) and len(np.unique(hr.index, axis=0)) == len(hr.index)
    assert (hr.card.mpp, hr.card.grid.step_level0) == (1.0, lr.card.grid.step_level0 / 2)
    with open_slide(slides[0].path) as slide:
        pixels = slide.read_region(tuple(hr.card.grid.level0_yx(hr.index)[3]), (64, 64), 1.0)
    with torch.inference_mode():
        expected = tiny_encoder()(torch.from_numpy(pixels).permute(2, 0, 1)[None]).embedding[0]
    np.testing.assert_allclose(hr.embeddings[3], expected, rtol=1e-4, atol=1e-5)


def test_finished_slides_are_passed_over(extract: Extractor, slides: list[SlideSource]) -> None:
    extract(slides[:2])
    before = [stamp_of(extract.out / f"{source.slide_id}.zarr/zarr.json") for source in slides[:2]]
    outcomes = extract(slides)
    assert extract.computed == ["demo-002"]
    assert [outcome.computed for outcome in outcomes] == [False, False, True]
    assert [outcome.slide_id for outcome in outcomes] == [source.slide_id for source in slides]
    assert before == [stamp_of(extract.out / f"{source.slide_id}.zarr/zarr.json") for source in slides[:2]]


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, mpp=1.9),
        replace(PLAN, children=1),
        replace(PLAN, min_tissue=0.5),
        replace(PLAN, min_tissue_hr=0.5),
        replace(PLAN, max_failed=0.5),
    ],
)
def test_another_plan_makes_them_anew(extract: Extractor, slides: list[SlideSource], plan: PatchPlan) -> None:
    extract(slides[:1])
    extract(slides[:1], plan=plan)
    assert extract.computed == ["demo-000"]
    extract(slides[:1], plan=plan)
    assert extract.computed == []


def test_another_file_mpp_encoder_or_layer_makes_them_anew(extract: Extractor, slides: list[SlideSource]) -> None:
    first = slides[:1]
    extract(first)
    extract(first, seed=1)
    assert extract.computed == ["demo-000"]
    extract(first, seed=1, layers=(0,))
    assert extract.computed == ["demo-000"]
    given = [first[0]._replace(mpp=0.6)]
    extract(given, seed=1, layers=(0,))
    assert extract.computed == ["demo-000"]
    assert read_card(extract.out / "demo-000.zarr").slide_mpp == 0.6
    shutil.copy(slides[1].path, first[0].path)
    extract(given, seed=1, layers=(0,))
    assert extract.computed == ["demo-000"]
    extract(given, seed=1, layers=(0,))
    assert extract.computed == []


def test_another_way_of_reading_makes_them_anew(
    extract: Extractor, slides: list[SlideSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(slides[:1])
    monkeypatch.setattr(slide_features, "EXTRACTION_VERSION", slide_features.EXTRACTION_VERSION + 1)
    extract(slides[:1])
    assert extract.computed == ["demo-000"]


def test_the_other_resolution_or_another_mask_makes_them_anew(extract: Extractor, slides: list[SlideSource]) -> None:
    first = slides[:1]
    with open_slide(first[0].path) as slide:
        whole = segment_tissue(slide)
    masks = [Raster(whole.array & (np.arange(len(whole.array)) < side), whole.to_level0) for side in (20, 40)]
    counts = []
    for options in ({}, {"resolution": "hr"}, *({"tissue": {"demo-000": mask}} for mask in masks)):
        for computed in (["demo-000"], []):
            extract(first, **options)  # type: ignore[arg-type]
            assert extract.computed == computed
        counts.append(read_card(extract.out / "demo-000.zarr").total)
    lr, hr, less, more = counts
    assert less < more < lr < hr


def test_patches_that_could_not_be_read_are_tried_again_once_the_file_is_another(
    extract: Extractor, slides: list[SlideSource]
) -> None:
    with open_slide(slides[0].path) as slide:
        corner = tuple(patches_of(slide, PLAN).level0_yx[0].tolist())
    with pytest.MonkeyPatch.context() as patch:
        unreadable(patch, {corner})
        extract(slides[:1])
        assert read_card(extract.out / "demo-000.zarr").failed == 1
    extract(slides[:1])
    assert extract.computed == [], "the file is the same"
    os.utime(slides[0].path, ns=(1, 1))
    extract(slides[:1])
    assert extract.computed == ["demo-000"] and read_card(extract.out / "demo-000.zarr").failed == 0


def test_a_slide_may_be_too_coarse_for_the_high_resolution_alone(extract: Extractor, slides: list[SlideSource]) -> None:
    coarse = [slides[0]._replace(mpp=1.8)]
    assert extract(coarse)[0].path is not None
    assert extract(coarse, resolution="hr")[0].reason == "resolution"


def test_neither_an_input_nor_a_folder_of_the_user_is_replaced(extract: Extractor, slides: list[SlideSource]) -> None:
    extract(slides[:2])
    other = [source._replace(mpp=0.6) for source in slides]
    (extract.out / "demo-002.zarr").mkdir()
    (extract.out / "demo-002.zarr/notes.txt").write_text("mine")
    before = stamp_of(extract.out / "demo-000.zarr/zarr.json")
    outcomes = extract(other, inputs=[extract.out / "demo-000.zarr"])
    assert [outcome.reason for outcome in outcomes] == ["output", "", "output"]
    assert stamp_of(extract.out / "demo-000.zarr/zarr.json") == before
    assert (extract.out / "demo-002.zarr/notes.txt").read_text() == "mine"


def test_a_mended_slide_is_made_again_though_its_samples_are_the_same(
    extract: Extractor, slides: list[SlideSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrmil.io.hashing.SAMPLE_BYTES", 16)
    slide = slides[0].path
    whole = slide.read_bytes()
    offset, count = segment_of(slide, 1, 0)
    overwrite(slide, offset, bytes(count))
    extract(slides[:1])
    assert read_card(extract.out / "demo-000.zarr").notes
    extract(slides[:1])
    assert extract.computed == []
    slide.write_bytes(whole)
    extract(slides[:1])
    assert extract.computed == ["demo-000"] and not read_card(extract.out / "demo-000.zarr").notes
    slide.write_bytes(whole)
    extract(slides[:1])
    assert extract.computed == []


def test_half_written_features_are_removed_and_made(extract: Extractor, slides: list[SlideSource]) -> None:
    (extract.out / ".x.lrmil-0123456789abcdef.tmp").mkdir(parents=True)
    (extract.out / "demo-000.zarr").mkdir()
    extract(slides[:1])
    assert extract.computed == ["demo-000"]
    assert sorted(path.name for path in extract.out.iterdir()) == [".lrmil.lock", "demo-000.zarr"]


def test_a_bad_slide_stops_nothing(extract: Extractor, slides: list[SlideSource]) -> None:
    whole = slides[0].path.read_bytes()
    slides[0].path.write_bytes(whole[: len(whole) // 3])
    slides[1].path.unlink()
    outcomes = extract(slides)
    assert [outcome.path is None for outcome in outcomes] == [True, True, False]
    assert "truncated" in outcomes[0].message and "There is no slide" in outcomes[1].message
    assert sorted(path.name for path in extract.out.iterdir()) == [".lrmil.lock", "demo-002.zarr"]


def test_real_broken_slides_have_a_message_each(extract: Extractor, slides: list[SlideSource], shared: Path) -> None:
    broken = sorted((shared / "data/slides/errors").iterdir())
    sources = [SlideSource(path.stem, path) for path in broken]
    outcomes = extract([*sources, slides[0]])
    assert len(broken) == 3 and all(outcome.message for outcome in outcomes[:3])
    assert outcomes[3].path is not None and not outcomes[3].message


def test_the_steps_tell_messages_and_count_slides(slides: list[SlideSource], tmp_path: Path) -> None:
    slides[1].path.write_bytes(b"no slide")
    encoder = tiny_encoder()
    steps: Iterator = extract_features(
        slides, PatchEncoder(encoder, CPU, batch_size=8), "x", tmp_path / "out", PLAN, job=("job",)
    )
    seen = list(steps)
    counted = [step.done for step in seen if step.job == ("job",)]
    assert counted == [0, 1, 2, 3, 3]
    assert sum(bool(step.message) for step in seen) == 1
    patches = [step for step in seen if step.job == ("job", "demo-000")]
    assert patches[-1].done == patches[-1].total and all(step.unit == "patches" for step in patches)


def test_unreadable_patches_are_left_out_and_counted(
    extract: Extractor, slides: list[SlideSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(slides[:1])
    whole = read_features(extract.out / "demo-000.zarr")
    corners = [tuple(corner) for corner in whole.card.grid.level0_yx(whole.index).tolist()]
    lost = {1, len(corners) - 1}
    unreadable(monkeypatch, {corners[place] for place in lost})
    extract.out = extract.out.with_name("torn")
    extract(slides[:1])
    left = read_features(extract.out / "demo-000.zarr")
    kept = [place for place in range(len(corners)) if place not in lost]
    assert (left.card.failed, left.card.total) == (2, len(corners))
    assert left.card.notes[-1].startswith(f"2 of {len(corners)} patches") and not whole.card.notes
    assert np.array_equal(left.index, whole.index[kept])
    np.testing.assert_allclose(left.embeddings, whole.embeddings[kept], rtol=1e-4, atol=1e-5)


def test_too_many_unreadable_patches_fail_the_slide_with_their_count(
    extract: Extractor, slides: list[SlideSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(slides[0].path) as slide:
        corners = [tuple(corner) for corner in patches_of(slide, PLAN).level0_yx.tolist()]
    lost = len(corners) // 4 + 1
    unreadable(monkeypatch, set(corners[:lost]))
    (outcome,) = extract(slides[:1])
    assert outcome.path is None and f"Got {lost} of {len(corners)}" in outcome.message
    assert extract(slides[:1], plan=replace(PLAN, max_failed=0.5))[0].path is not None
    unreadable(monkeypatch, set(corners))
    (outcome,) = extract(slides[:1], plan=replace(PLAN, max_failed=1.0))
    assert outcome.path is None and outcome.reason == "file" and f"{len(corners)} patches" in outcome.message


def test_a_slide_without_tissue_fails(extract: Extractor, tmp_path: Path) -> None:
    from support.slides import write_pyramid

    path = write_pyramid(tmp_path / "glass.ome.tif", np.full((512, 512, 3), 245, np.uint8))
    (outcome,) = extract([SlideSource("glass", path)])
    assert outcome.path is None and outcome.reason == "tissue"


@pytest.mark.long
class TestInOtherProcesses:
    @pytest.mark.parametrize("loads", [True, False])
    def test_the_features_are_the_same(
        self, slides: list[SlideSource], tmp_path: Path, two_workers: DaskWorkers, *, loads: bool
    ) -> None:
        slides[1].path.write_bytes(b"no slide")
        outline = tmp_path / "demo-002.geojson"
        outline.write_text(
            '{"type": "Polygon", "coordinates": [[[64, 64], [900, 64], [900, 900], [64, 900], [64, 64]]]}'
        )
        load = partial(tiny_patch_encoder, layers=(0, -1))
        options = {"resolution": "hr", "tissue": {"demo-002": given_mask(outline)}, "job": ("job",)}
        kept = {}
        for name, executor in (("here", IN_PROCESS), ("elsewhere", two_workers)):
            steps = extract_features(
                slides,
                load(),
                encoder_hash(load().encoder),
                tmp_path / name,
                PLAN,
                executor=executor,
                load=load if loads else None,
                **options,  # type: ignore[arg-type]
            )
            counted = [step for step in steps if step.job == ("job",)]
            cards = [read_features(tmp_path / name / f"{slides[i].slide_id}.zarr", layers=True) for i in (0, 2)]
            kept[name] = counted, cards
        here, elsewhere = kept["here"], kept["elsewhere"]
        assert [step.message for step in here[0]] == [step.message for step in elsewhere[0]]
        assert [step.done for step in here[0]] == [step.done for step in elsewhere[0]] == [0, 1, 2, 3, 3]
        outcomes = [[o._replace(path=o.path and Path(o.path.name)) for o in kept[name][0][-1].result] for name in kept]
        assert outcomes[0] == outcomes[1] and [bool(outcome.path) for outcome in outcomes[0]] == [True, False, True]
        for mine, theirs in zip(here[1], elsewhere[1], strict=True):
            assert replace(mine.card, seconds=0) == replace(theirs.card, seconds=0)
            assert np.array_equal(mine.index, theirs.index) and np.array_equal(mine.embeddings, theirs.embeddings)
            assert mine.layers.keys() == theirs.layers.keys() and len(mine.layers) == 2
            assert all(np.array_equal(mine.layers[layer], theirs.layers[layer]) for layer in mine.layers)
        assert "demo-002.geojson" in " ".join(elsewhere[1][1].card.notes)

    def test_finished_slides_are_skipped_and_a_process_that_dies_fails_its_slide(
        self, slides: list[SlideSource], tmp_path: Path
    ) -> None:
        encoder = tiny_patch_encoder()
        make = partial(extract_features, encoder=encoder, encoder_hash=encoder_hash(encoder.encoder), plan=PLAN)
        last(make(slides[:1], out=tmp_path / "out"))
        outcomes = last(make(slides, out=tmp_path / "out", executor=Poisoned({"demo-001"})))
        assert [outcome.computed for outcome in outcomes] == [False, True, True]
        assert outcomes[1] == Extracted("demo-001", None, DIED.message, DIED.reason)
        assert [bool(outcome.path) for outcome in outcomes] == [True, False, True]
        assert [outcome.computed for outcome in last(make(slides, out=tmp_path / "out"))] == [False, True, False]
