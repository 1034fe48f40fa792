"""Facts of an encoder, and whether it can be had here: nothing is downloaded to tell."""

import pytest

from lrmil.errors import EncoderError
from lrmil.models.encoders import facts
from lrmil.models.encoders.catalogue import CATALOGUE, catalogue_facts
from lrmil.models.encoders.facts import encoder_facts
from lrmil.models.encoders.hub import Availability

GATED = next(name for name, entry in CATALOGUE.items() if entry.gated)
OPEN = next(name for name, entry in CATALOGUE.items() if not entry.gated)


def hub(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    state = dict.fromkeys(Availability._fields, False) | changes
    monkeypatch.setattr(facts, "availability", lambda hub_id: Availability(**state))


@pytest.mark.parametrize(
    ("name", "state", "available", "remedy"),
    [
        (OPEN, {"cached": True}, True, ""),
        (OPEN, {"reachable": True}, True, ""),
        (OPEN, {}, False, "cannot be reached"),
        (OPEN, {"offline": True}, False, "HF_HUB_OFFLINE"),
        (GATED, {"reachable": True}, False, "ask for access"),
        (GATED, {"reachable": True, "token": True}, True, ""),
    ],
)
def test_whether_it_can_be_had_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, name: str, state: dict[str, object], available: bool, remedy: str
) -> None:
    hub(monkeypatch, **state)
    found, can_be_had = encoder_facts(name)
    assert (can_be_had, found["available"]) == (available, available)
    assert remedy in str(found["what_to_do"]) and bool(found["what_to_do"]) is not available
    assert found["hub_id"] == CATALOGUE[name].hub_id and found["licence"] == CATALOGUE[name].licence


def test_a_name_of_the_hub_has_the_facts_of_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, cached=True)
    found, _ = encoder_facts(f"hf-hub:{CATALOGUE[GATED].hub_id}")
    assert found["dim"] == CATALOGUE[GATED].dim and catalogue_facts(GATED).items() <= {**found, "name": GATED}.items()


@pytest.mark.parametrize("name", ["test_vit", "local-dir:/not/there"])
def test_what_cannot_be_named_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    hub(monkeypatch)
    if name == "test_vit":  # its weights are on the hub
        assert encoder_facts(name)[1] is False
    else:
        with pytest.raises(EncoderError):
            encoder_facts(name)
