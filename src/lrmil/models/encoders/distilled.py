"""A distilled LR encoder as a folder that timm loads, with a card of how it was made: lrmil.encoder/1.

config.json and model.safetensors are those of timm's ``local-dir:``. lrmil.json, the card, is written last.
"""

import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lrmil import __version__
from lrmil.errors import EncoderError, FormatError
from lrmil.io import atomic, hashing, untrusted
from lrmil.io.marks import has_format, has_keys, head_of
from lrmil.io.tensors import save_tensors
from lrmil.models.encoders.network import Encoder
from lrmil.models.encoders.terms import FREE, EncoderTerms, read_terms

FORMAT = "lrmil.encoder/1"
CARD, CONFIG, WEIGHTS = "lrmil.json", "config.json", "model.safetensors"
MAX_SLIDES = 1_000_000


@dataclass(frozen=True, slots=True)
class EncoderCard:
    """How a distilled LR encoder was made.

    Attributes
    ----------
    mpp_hr, mpp_lr
        Resolutions in um/px that it was distilled from and for.
    patch_size
        Side of a patch in pixels.
    embedding
        Rule of its embedding: cls | mean | cls+mean | pooled.
    terms
        Terms of the "teacher", whose embeddings it learned, and of the "start", whose weights it began with.
    stage1
        Settings of the distillation.
    fidelity
        How well it follows the teacher on patches of slides that it did not learn from.
    key
        Hash of everything that it was made from.
    salt, seen
        Key of the hashes, and the HMAC-SHA256 of the fingerprint of every slide that it learned from or was selected
        on: a slide can be looked up, but the slides cannot be listed.
    """

    mpp_hr: float
    mpp_lr: float
    patch_size: int
    embedding: str
    terms: dict[str, EncoderTerms]
    stage1: dict[str, object]
    fidelity: dict[str, object]
    key: str
    salt: str
    seen: frozenset[str]

    def has_seen(self, fingerprint: str) -> bool:
        """Return whether the encoder learned from the slide with this fingerprint, or was selected on it."""
        return hashing.keyed(self.salt, fingerprint) in self.seen


def make_card(
    encoder: Encoder,
    fingerprints: Iterable[str],
    *,
    mpp_hr: float,
    mpp_lr: float,
    terms: dict[str, EncoderTerms],
    stage1: dict[str, object],
    fidelity: dict[str, object],
    key: str,
) -> EncoderCard:
    """Describe a distilled encoder; the fingerprints are those of the slides that it has seen."""
    salt = secrets.token_hex(16)
    seen = frozenset(hashing.keyed(salt, one) for one in fingerprints)
    spec = encoder.spec
    return EncoderCard(mpp_hr, mpp_lr, spec.size, spec.embedding, terms, stage1, fidelity, key, salt, seen)


def save_encoder(folder: Path, encoder: Encoder, card: EncoderCard) -> None:
    """Write an encoder and its card into a folder.

    Parameters
    ----------
    folder
        An existing folder; other files in it stay.
    encoder
        The encoder, without a projector: timm's layout has no place for one.
    card
        How it was made.

    Raises
    ------
    OverwriteError
        If a file that lrmil did not write has the name of one of the three.
    OutputError
        If it cannot be written.
    ValueError
        If the encoder has a projector.
    """
    spec = encoder.spec
    if spec.projected_dim:
        raise ValueError("Expected an encoder without a projector. Got one, which a timm folder cannot hold.")
    state = {name: value.detach().cpu().contiguous() for name, value in encoder.backbone.state_dict().items()}
    config = {
        "architecture": spec.architecture,
        "num_classes": 0,
        "num_features": encoder.raw_dim,
        "model_args": spec.model_args,
        "pretrained_cfg": {
            "num_classes": 0,
            "input_size": [3, spec.size, spec.size],
            "mean": list(spec.mean),
            "std": list(spec.std),
            "license": licence_of(card.terms),
        },
    }
    with atomic.replacing(folder / WEIGHTS, is_encoder_weights) as temporary:
        save_tensors(temporary, state, {"format": FORMAT})
    atomic.write_json(folder / CONFIG, config, is_encoder_config)
    document = {
        "format": FORMAT,
        "version": __version__,
        **{
            name: getattr(card, name)
            for name in ("mpp_hr", "mpp_lr", "patch_size", "embedding", "stage1", "fidelity", "key")
        },
        "terms": {role: asdict(one) for role, one in card.terms.items()},
        "slides": {"salt": card.salt, "seen": sorted(card.seen)},
        "sha256": {name: hashing.sha256_file(folder / name) for name in (CONFIG, WEIGHTS)},
    }
    atomic.write_json(folder / CARD, document, is_encoder_card)


def read_encoder_card(folder: Path) -> EncoderCard | None:
    """Read the card of a distilled encoder; None if the folder has none, as those of other programs.

    Raises
    ------
    EncoderError
        If the card is damaged or of another version, or the encoder changed after it was written.
    """
    path = folder / CARD
    if not os.path.lexists(path):
        return None
    try:
        document: Any = untrusted.read_json(path)
        found = document["format"]
        if found != FORMAT:
            raise EncoderError(f"Expected the format {FORMAT} in {path.name}. Got {found!r}; update lrmil.")
        card = _parse(document)
        hashes = {name: str(document["sha256"][name]) for name in (CONFIG, WEIGHTS)}
        changed = [name for name, stated in hashes.items() if hashing.sha256_file(folder / name) != stated]
    except (FormatError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise EncoderError(
            f"The card {path.name} of the encoder in {folder.name} is damaged: {error}. Distil it again, or delete the "
            "card to use the folder as any timm model."
        ) from error
    if changed:
        raise EncoderError(
            f"{' and '.join(changed)} in {folder.name} changed after the encoder was distilled, so its card "
            f"{path.name} no longer describes it. Copy the folder again, or delete the card."
        )
    return card


def licence_of(terms: dict[str, EncoderTerms]) -> str:
    """Return the licence of a distilled encoder: that of its start, and of its teacher where that may extend to it.

    Parameters
    ----------
    terms
        Of the "teacher" and the "start"; a missing one is unknown.
    """
    start, teacher = terms.get("start"), terms.get("teacher")
    own = "no terms" if start and start.random else (start.licence if start else None) or "unknown"
    if not teacher or teacher.random or teacher.inherits is False or teacher == start:
        return own
    if (teacher.licence or "").lower() in FREE:
        return own
    return f"{own}; distilled from {teacher.name} ({teacher.licence or 'licence unknown'})"


def is_encoder_card(path: Path) -> bool:
    """Return whether a file is the card of a distilled encoder, even a damaged one."""
    return has_format(path, "lrmil.encoder/")


def is_encoder_weights(path: Path) -> bool:
    """Return whether a file holds the weights of a distilled encoder."""
    return b'"format":"lrmil.encoder/' in head_of(path)


def is_encoder_config(path: Path) -> bool:
    """Return whether a file is the config.json of a distilled encoder: its weights are beside it."""
    return has_keys(path, {"architecture", "pretrained_cfg"}) and is_encoder_weights(
        path.with_name("model.safetensors")
    )


def _parse(document: dict[str, Any]) -> EncoderCard:
    terms = {role: read_terms(value) for role, value in document["terms"].items()}
    slides = document["slides"]
    seen = slides["seen"]
    if not isinstance(seen, list) or len(seen) > MAX_SLIDES or not all(isinstance(one, str) for one in seen):
        raise ValueError(f"expected at most {MAX_SLIDES} slides as text")
    return EncoderCard(
        mpp_hr=float(document["mpp_hr"]),
        mpp_lr=float(document["mpp_lr"]),
        patch_size=int(document["patch_size"]),
        embedding=str(document["embedding"]),
        terms={role: one for role, one in terms.items() if one is not None},
        stage1=dict(document["stage1"]),
        fidelity=dict(document["fidelity"]),
        key=str(document["key"]),
        salt=str(slides["salt"]),
        seen=frozenset(seen),
    )
