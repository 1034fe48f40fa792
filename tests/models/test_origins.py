"""Sites as hashes and scanners by name: what is unseen is said, and nothing where it is not known."""

from dataclasses import replace
from pathlib import Path

import pytest

from lrmil.errors import FormatError
from lrmil.io.atomic import write_json
from lrmil.io.untrusted import read_json
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.card import read_model_card
from lrmil.models.origins import ORIGINS, Origins, keep_origins, scanner_note, unseen_remarks
from lrmil.slides.scanner import Scanner
from support.runs import tiny_bundle

GT450, AT2, NANO = Scanner("Aperio", "GT450"), Scanner("Aperio", "AT2"), Scanner("Hamamatsu", "NanoZoomer")


def origins(sites: list[str | None], scanners: list[Scanner | None]) -> Origins:
    found = keep_origins(sites, scanners, "a training")
    assert found is not None
    return found


def test_sites_are_known_again_but_cannot_be_read() -> None:
    found = origins(["North", "South", "North", None], [None] * 4)
    assert len(found.sites) == 2 and found.without_site == 1 and "North" not in str(found.to_dict())
    assert not found.lacks_site("North") and found.lacks_site("West") and not found.lacks_site(None)


def test_equal_trainings_keep_equal_hashes_and_others_do_not() -> None:
    one = keep_origins(["North"], [GT450], "a")
    assert one == keep_origins(["North"], [GT450], "a") != keep_origins(["North"], [GT450], "b")


@pytest.mark.parametrize(
    ("scanner", "said"), [(NANO, True), (AT2, True), (GT450, False), (Scanner("aperio", ""), False), (None, False)]
)
def test_a_scanner_of_no_training_slide_is_said(scanner: Scanner | None, said: bool) -> None:
    note = scanner_note(origins([None], [GT450]), scanner, calibrated=True)
    assert bool(note) == said
    if said:
        assert note == (f"The scanner {scanner} was in no training slide: the calibration may not hold.",)


def test_where_some_training_slides_state_none_the_note_says_so() -> None:
    (note,) = scanner_note(origins([None] * 2, [GT450, None]), NANO, calibrated=False)
    assert "no training slide that states its scanner" in note and "calibration" not in note


def test_nothing_is_said_where_the_model_does_not_know() -> None:
    assert keep_origins([None, ""], [None, None], 0) is None
    assert scanner_note(None, NANO, calibrated=True) == () == unseen_remarks(None, ["West"], [()])
    sites_alone, scanners_alone = origins(["North"], [None]), origins([None], [GT450])
    assert scanner_note(sites_alone, NANO, calibrated=True) == ()
    assert unseen_remarks(scanners_alone, ["West"], [()]) == ()


def test_unseen_slides_are_counted() -> None:
    found = origins(["North"], [GT450])
    notes = [("another note. " + scanner_note(found, NANO, calibrated=True)[0],), (), ("another",)]
    assert unseen_remarks(found, ["West", "East", None], notes) == (
        "2 of these 3 slides are of 2 sites that no training slide is of.",
        "1 of these 3 slides is of a scanner that was in no training slide.",
    )
    assert unseen_remarks(found, ["North", None], [(), ()]) == ()


def test_a_model_folder_keeps_them(tmp_path: Path) -> None:
    stated = origins(["North", None], [GT450, NANO])
    save_bundle(tmp_path / "model", replace(tiny_bundle(), origins=stated))
    loaded = load_bundle(tmp_path / "model")
    assert loaded.origins == stated == read_model_card(tmp_path / "model").origins
    assert "North" not in (tmp_path / "model/bundle.json").read_text()
    assert len(loaded.notes_on("00", AT2)) == 1 and loaded.notes_on("00", GT450) == ()


def test_a_model_without_them_states_nothing(tmp_path: Path) -> None:
    save_bundle(tmp_path / "model", tiny_bundle())
    assert ORIGINS not in read_json(tmp_path / "model/bundle.json")  # type: ignore[operator]
    assert load_bundle(tmp_path / "model").origins is None


@pytest.mark.parametrize(
    "damage",
    [
        {"sites": ["North"]},
        {"scanners": [{"make": "Aperio", "model": "x" * 41}]},
        {"scanners": [{"make": "Aperio", "model": "a", "serial": "77"}]},
        {"without_site": -1},
        {"more": 1},
    ],
)
def test_damaged_ones_are_refused(tmp_path: Path, damage: dict[str, object]) -> None:
    save_bundle(tmp_path / "model", replace(tiny_bundle(), origins=origins(["North"], [GT450])))
    path = tmp_path / "model/bundle.json"
    document = read_json(path)
    assert isinstance(document, dict)
    write_json(path, {**document, ORIGINS: {**document[ORIGINS], **damage}}, lambda _: True)
    with pytest.raises(FormatError):
        load_bundle(tmp_path / "model")
