"""Facts about an encoder, and whether it can be used on this machine."""

import timm

from lrmil.errors import EncoderError
from lrmil.models.encoders.catalogue import CATALOGUE, catalogue_facts, find_by_hub_id
from lrmil.models.encoders.hub import availability
from lrmil.models.encoders.loading import load_encoder
from lrmil.models.encoders.source import find_source


def encoder_facts(name: str) -> tuple[dict[str, object], bool]:
    """Collect the facts about an encoder; nothing is downloaded.

    Parameters
    ----------
    name
        As in `load_encoder`.

    Returns
    -------
    tuple
        Name -> fact, JSON-ready; and True if the encoder can be loaded or downloaded here.

    Raises
    ------
    EncoderError
        If there is no such encoder, or its folder is invalid.
    """
    facts: dict[str, object] = catalogue_facts(name.lower()) if name.lower() in CATALOGUE else {"name": name}
    kind, _, location = name.partition(":")
    hub_id = str(facts.get("hub_id", "")) or (location if kind.lower() in ("hf-hub", "hf_hub") else "")
    if not hub_id and not timm.is_model(name.partition(".")[0]):
        return facts | _in_folder(name), True
    if not hub_id:
        config = timm.get_pretrained_cfg(name)
        hub_id = str(config.hf_hub_id or "") if config else ""
        if not hub_id:
            raise EncoderError(f"timm has no weights {name!r} on the hub; it can only be built with random weights.")
    elif (known := find_by_hub_id(hub_id)) and "hub_id" not in facts:
        facts |= catalogue_facts(known[0])
    found = availability(hub_id)
    gated = facts.get("gated") is True
    is_available = found.cached or bool(found.reachable and (found.token or not gated))
    facts |= {"hub_id": hub_id, **found._asdict(), "available": is_available, "what_to_do": ""}
    if not is_available:
        facts["what_to_do"] = _remedy(offline=found.offline, reachable=bool(found.reachable))
    return facts, is_available


def _in_folder(name: str) -> dict[str, object]:
    source = find_source(name)  # a folder: nothing is downloaded
    load_encoder(name)  # raises if its weights are missing or do not fit
    entry = source.entry
    known: dict[str, object] = {"licence": entry.licence, "title": entry.title} if entry else {}
    return {
        "name": source.name,
        "architecture": source.architecture,
        **known,
        "patch_px": source.native_size,
        "available": True,
    }


def _remedy(*, offline: bool, reachable: bool) -> str:
    if offline:
        return "HF_HUB_OFFLINE is set and the model is not in the cache: unset it, or pass local-dir:FOLDER"
    if not reachable:
        return "the hub cannot be reached and the model is not in the cache: pass local-dir:FOLDER with its files"
    return "the model is gated and no token is stored: ask for access on its page, then `hf auth login`"
