"""A distilled encoder as a folder: timm loads it, and its card says what it is and what it has seen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from lrmil.errors import EncoderError, OverwriteError
from lrmil.models.encoders.distilled import EncoderCard, licence_of, make_card, read_encoder_card, save_encoder
from lrmil.models.encoders.loading import Encoder, load_encoder
from lrmil.models.encoders.terms import EncoderTerms
from support.runs import tiny_encoder

TEACHER = EncoderTerms("teacher", "cc-by-nc-4.0", inherits=True)
START = EncoderTerms("start", "apache-2.0")
FILES = ("config.json", "lrmil.json", "model.safetensors")


@pytest.fixture
def encoder() -> Encoder:
    return tiny_encoder(embedding="mean")


@pytest.fixture
def card(encoder: Encoder) -> EncoderCard:
    terms = {"teacher": TEACHER, "start": START}
    return make_card(
        encoder,
        ["print-1", "print-2"],
        mpp_hr=0.5,
        mpp_lr=2.0,
        terms=terms,
        stage1={"stain": 0.1},
        fidelity={"r2": 0.5},
        key="k",
    )


def test_a_saved_encoder_gives_the_same_embeddings(encoder: Encoder, card: EncoderCard, tmp_path: Path) -> None:
    save_encoder(tmp_path, encoder, card)
    loaded = load_encoder(f"local-dir:{tmp_path}", size=64, embedding=card.embedding)
    pixels = torch.randint(0, 256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(loaded(pixels).embedding, encoder(pixels).embedding)
    assert loaded.spec == encoder.spec


def test_timm_alone_loads_it(encoder: Encoder, card: EncoderCard, tmp_path: Path) -> None:
    save_encoder(tmp_path, encoder, card)
    network = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=0)
    ours = encoder.backbone.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in network.state_dict().items())


def test_the_card_is_read_as_it_was_written(encoder: Encoder, card: EncoderCard, tmp_path: Path) -> None:
    save_encoder(tmp_path, encoder, card)
    assert read_encoder_card(tmp_path) == card


def test_slides_can_be_looked_up_but_not_listed(encoder: Encoder, card: EncoderCard, tmp_path: Path) -> None:
    save_encoder(tmp_path, encoder, card)
    found = read_encoder_card(tmp_path)
    assert found is not None and found.has_seen("print-1") and not found.has_seen("print-3")
    assert "print" not in (tmp_path / "lrmil.json").read_text()


def test_two_cards_of_the_same_slides_share_no_hash(encoder: Encoder, card: EncoderCard) -> None:
    again = make_card(encoder, ["print-1"], mpp_hr=0.5, mpp_lr=2.0, terms={}, stage1={}, fidelity={}, key="k")
    assert again.has_seen("print-1") and not again.seen & card.seen


def test_folders_of_other_programs_have_no_card(tmp_path: Path) -> None:
    assert read_encoder_card(tmp_path) is None


@pytest.mark.parametrize("changed", ["config.json", "model.safetensors"])
def test_an_encoder_that_changed_is_refused(encoder: Encoder, card: EncoderCard, tmp_path: Path, changed: str) -> None:
    save_encoder(tmp_path, encoder, card)
    with (tmp_path / changed).open("ab") as file:
        file.write(b" ")
    with pytest.raises(EncoderError, match=changed):
        read_encoder_card(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "lrmil.encoder/2"},
        {"format": None},
        {"terms": []},
        {"slides": {}},
        {"slides": {"salt": "00", "seen": [1]}},
        {"mpp_hr": "fine"},
        {"sha256": {}},
    ],
)
def test_a_damaged_card_is_refused(
    encoder: Encoder, card: EncoderCard, tmp_path: Path, change: dict[str, object]
) -> None:
    save_encoder(tmp_path, encoder, card)
    path = tmp_path / "lrmil.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EncoderError, match=r"lrmil\.json"):
        read_encoder_card(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_files_of_others_are_not_replaced(encoder: Encoder, card: EncoderCard, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(OverwriteError, match=name):
        save_encoder(tmp_path, encoder, card)
    assert (tmp_path / name).read_text() == "{}"


def test_an_encoder_of_ours_is_replaced(encoder: Encoder, card: EncoderCard, tmp_path: Path) -> None:
    save_encoder(tmp_path, encoder, card)
    save_encoder(tmp_path, encoder, replace(card, fidelity={"r2": 0.7}))
    found = read_encoder_card(tmp_path)
    assert found is not None and found.fidelity == {"r2": 0.7}


def test_a_projector_has_no_place_in_the_folder(card: EncoderCard, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="projector"):
        save_encoder(tmp_path, tiny_encoder(projected_dim=8), card)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("teacher", "start", "expected"),
    [
        (TEACHER, START, "apache-2.0; distilled from teacher (cc-by-nc-4.0)"),
        (TEACHER, TEACHER, "cc-by-nc-4.0"),
        (replace(TEACHER, inherits=False), START, "apache-2.0"),
        (replace(TEACHER, licence="MIT"), START, "apache-2.0"),
        (replace(TEACHER, licence=None, inherits=None), START, "apache-2.0; distilled from teacher (licence unknown)"),
        (EncoderTerms("teacher", random=True), replace(START, random=True), "no terms"),
        (START, replace(START, licence=None), "unknown"),
    ],
)
def test_the_licence_names_what_may_extend_to_it(teacher: EncoderTerms, start: EncoderTerms, expected: str) -> None:
    assert licence_of({"teacher": teacher, "start": start}) == expected
