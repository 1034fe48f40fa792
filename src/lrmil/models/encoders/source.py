"""Resolve the name of an encoder: in the catalogue, on the hub, in a folder, or among timm's own models."""

import dataclasses
import difflib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch

from lrmil.errors import EncoderError, FormatError
from lrmil.io import untrusted
from lrmil.models.encoders.catalogue import CATALOGUE, UNSUPPORTED, CatalogueEntry, find_by_hub_id
from lrmil.models.encoders.folder import CONFIG, FOLDER, HUB, WEIGHTS
from lrmil.models.encoders.hub import hub_model
from lrmil.models.encoders.spec import RGB, Argument, require_architecture, stated_arguments

log = logging.getLogger(__name__)
FORMS = "a name of `lrmil encoders`, a timm model name, hf-hub:owner/name or local-dir:folder"
SIZE_FREE = 256  # px, for networks that take any size
UNSTATED: Any = None
# Keys of a flat config.json besides those of timm's PretrainedCfg.
FLAT_KEYS = {"architecture", "num_features", "labels", "label_names", "label_descriptions"}
MAX_SIZE = 4096  # px: testing a network on a larger image may exhaust the memory
SHAPE = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EncoderSource:
    """Where a named encoder comes from, and how it is built.

    Attributes
    ----------
    name
        Name to show; of a folder only its last part.
    architecture, arguments
        timm model name and its arguments, layers by name.
    config
        Settings stored with the weights: mean, std, input_size, license.
    folder
        Folder of configuration and weights; None for timm's own models.
    entry
        Its entry in the catalogue.
    hub_id, revision
        Repository on the hub and its commit; "" if none or unknown.
    """

    name: str
    architecture: str
    arguments: dict[str, Argument]
    config: Mapping[str, Any]
    folder: Path | None = None
    entry: CatalogueEntry | None = None
    hub_id: str = ""
    revision: str = ""

    @property
    def timm_name(self) -> str:
        """Name to pass to `timm.create_model`."""
        return f"local-dir:{self.folder}" if self.folder else self.architecture

    @property
    def native_size(self) -> int:
        """Native side of its input in pixels; `SIZE_FREE` if it takes any."""
        if self.entry:
            return self.entry.size
        size = self.config.get("input_size")
        known = isinstance(size, list | tuple) and len(size) == 3 and type(size[-1]) is int and size[-1] > 0
        return int(size[-1]) if known and needs_size(self.architecture) else SIZE_FREE  # type: ignore[index]


def find_source(name: str, *, pretrained: bool = True) -> EncoderSource:
    """Resolve the name of an encoder; a model of the hub is downloaded unless it is cached.

    Parameters
    ----------
    name
        As in `load_encoder`.
    pretrained
        False skips the download if the catalogue states the architecture.

    Raises
    ------
    EncoderError
        If there is no such encoder, it is unavailable, or its folder is invalid.
    """
    kind, colon, location = name.partition(":")
    if colon and kind.lower() in HUB and location:
        return _on_hub(name, location, find_by_hub_id(location))
    if colon and kind.lower() == FOLDER and location:
        return _in_folder(Path(location).expanduser())
    if name.lower() in CATALOGUE:
        entry = CATALOGUE[name.lower()]
        if not pretrained and entry.architecture:
            arguments = dict(entry.arguments)
            return EncoderSource(name.lower(), entry.architecture, arguments, _config_of(entry), entry=entry)
        return _on_hub(name.lower(), entry.hub_id, (name.lower(), entry))
    if name and not timm.is_model(name.partition(".")[0]) and Path(name).expanduser().is_dir():
        return _in_folder(Path(name).expanduser())
    if name.lower() in UNSUPPORTED:
        raise EncoderError(
            f"The encoder {name} cannot be loaded: {UNSUPPORTED[name.lower()]}. `lrmil encoders` lists those that can."
        )
    return _of_timm(name)


def needs_size(architecture: str) -> bool:
    """Return True if timm builds the network for one input size, which must be passed."""
    config = timm.get_pretrained_cfg(architecture)
    return bool(config and config.fixed_input_size)


def _of_timm(name: str) -> EncoderSource:
    if not name or not timm.is_model(name.partition(".")[0]):
        near = difflib.get_close_matches(name, [*CATALOGUE, *timm.list_models()], 3)
        hint = f"; similar names: {', '.join(near)}" if near else ""
        if written := re.fullmatch(r"(?:https://huggingface\.co/)?([\w.-]+/[\w.-]+)/?", name):
            hint += f"; a model of the hub is written hf-hub:{written[1]}"
        raise EncoderError(f"Expected {FORMS}. Got {name[:200]!r}, which is none of them{hint}.")
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise EncoderError(f"timm has no weights {name!r}; `timm.list_pretrained()` lists those it has.")
    return EncoderSource(name, name, {}, config.to_dict())


def _on_hub(name: str, hub_id: str, known: tuple[str, CatalogueEntry] | None) -> EncoderSource:
    folder, revision = hub_model(hub_id)
    source = _read(folder, name, known[1] if known else None)
    entry = source.entry
    if entry and entry.revision and revision and revision != entry.revision:
        log.warning(
            "%s: the weights are from commit %s; other tools use commit %s.",
            name, revision[:12], entry.revision[:12],
        )  # fmt: skip
    return EncoderSource(
        name, source.architecture, source.arguments, source.config, folder, entry, hub_id.partition("@")[0], revision
    )


def _in_folder(folder: Path) -> EncoderSource:
    return _read(folder, f"{FOLDER}:{folder.absolute().name or folder}", None, place=f"{FOLDER}:{folder}")


def _read(folder: Path, name: str, entry: CatalogueEntry | None, *, place: str = "") -> EncoderSource:
    """Read config.json, and only the shapes of the weights; messages name `place`, if it is not the name."""
    place = place or name
    try:
        document = untrusted.read_json(folder / CONFIG)
    except (OSError, FormatError) as error:
        reason = "it is missing" if isinstance(error, FileNotFoundError) else str(error)
        raise EncoderError(
            f"Expected {FORMS}. Got {place!r}, whose {CONFIG} cannot be read: {reason}. A model folder has {CONFIG} "
            f"and {WEIGHTS[0]}, as timm's save_for_hf writes them."
        ) from error
    document = document if isinstance(document, dict) else {}
    inner = document.get("pretrained_cfg")
    config = inner if isinstance(inner, dict) else document
    architecture, arguments = document.get("architecture"), document.get("model_args") or {}
    if not isinstance(architecture, str) or not isinstance(arguments, dict):
        raise EncoderError(f"Expected a timm architecture and its arguments in {CONFIG} of {place}. Got neither.")
    require_architecture(architecture.partition(".")[0])
    _require_config(config, place, inner)
    entry = entry or _identify(folder, config, architecture)
    stated = stated_arguments(arguments)
    known = dict(entry.arguments) if entry else {}
    shown = _shown_by_weights(architecture, stated, weight_shapes(folder))
    if "act_layer" in shown and "act_layer" not in known:
        log.warning(
            "%s: its weights have packed gated layers that its config.json does not name (mlp_layer, act_layer). "
            "They are built as SwiGLUPacked with SiLU.",
            name,
        )
    complete = {**known, **shown, **stated}
    hub_id = entry.hub_id if entry else ""
    return EncoderSource(name, architecture.partition(".")[0], complete, config, folder, entry, hub_id)


def _require_config(config: Mapping[str, Any], name: str, inner: object) -> None:
    """Raise on a configuration that makes timm fail with an error about its own code."""
    known = {field.name for field in dataclasses.fields(timm.models.PretrainedCfg)} | FLAT_KEYS
    if not isinstance(inner, dict) and set(config) - known:
        raise EncoderError(
            f"Expected architecture, model_args and pretrained_cfg in {CONFIG} of {name}. Got no pretrained_cfg, which "
            "holds mean, std and input_size; save the model with timm's save_for_hf, or add it."
        )
    if unknown := sorted(set(config) - known):
        raise EncoderError(
            f"Expected only keys that timm {timm.__version__} knows in pretrained_cfg of {CONFIG} of {name}. Got "
            f"{', '.join(map(repr, unknown[:5]))}; install a newer timm, or remove them."
        )
    size = config.get("input_size", UNSTATED)
    sides = size[1:] if isinstance(size, list | tuple) and len(size) == 3 else ()
    if not sides or not all(type(side) is int and 0 <= side <= MAX_SIZE for side in sides) or size[0] != RGB:
        raise EncoderError(
            f"Expected an input_size of RGB images, [3, height, width] up to {MAX_SIZE} px, in {CONFIG} of {name}. "
            f"Got {'none' if size is UNSTATED else str(size)[:100]}."
        )


def _identify(folder: Path, config: Mapping[str, Any], architecture: str) -> CatalogueEntry | None:
    """Find the catalogue entry of a folder by its configuration, or by the folder's name and architecture."""
    known = find_by_hub_id(str(config.get("hf_hub_id", "")))
    if known and known[1].architecture in (architecture.partition(".")[0], None):
        return known[1]
    names = {part.casefold() for part in (folder.name, *folder.absolute().parts)}
    for key, entry in CATALOGUE.items():
        owner, _, repository = entry.hub_id.casefold().partition("/")
        here = folder.name.casefold() in (key, repository) or f"models--{owner}--{repository}" in names
        if here and entry.architecture in (architecture.partition(".")[0], None):
            return entry
    return None


def _shown_by_weights(
    architecture: str, arguments: Mapping[str, Argument], shapes: Mapping[str, SHAPE]
) -> dict[str, Argument]:
    """Return arguments that config.json often lacks, as far as the shapes of the weights reveal them."""
    found: dict[str, Argument] = {}
    if not timm.models.is_model_in_modules(architecture.partition(".")[0], ["vision_transformer"]):
        return found
    if "init_values" not in arguments and "blocks.0.ls1.gamma" in shapes:
        found["init_values"] = 1e-5  # only its presence matters: the weights have the values
    if "reg_tokens" not in arguments and "reg_token" in shapes:
        found["reg_tokens"] = shapes["reg_token"][1]
    wide, narrow = (shapes.get(f"blocks.0.mlp.{layer}.weight", ()) for layer in ("fc1", "fc2"))
    if "mlp_layer" not in arguments and len(wide) == len(narrow) == 2 and wide[0] == 2 * narrow[1]:
        found["mlp_layer"] = "SwiGLUPacked"
        if "act_layer" not in arguments:
            found["act_layer"] = "SiLU"
    return found


def weight_shapes(folder: Path) -> dict[str, SHAPE]:
    """Read the name and shape of each weight in a folder, but not its values; empty if that is impossible.

    Raises
    ------
    EncoderError
        If a safetensors file is damaged.
    """
    try:
        if (folder / WEIGHTS[0]).exists():
            return {key: spec.shape for key, spec in untrusted.read_header(folder / WEIGHTS[0]).items()}
        if (folder / WEIGHTS[1]).exists():
            state = timm.models.load_state_dict(str(folder / WEIGHTS[1]), device="meta")  # weights only, as timm does
            return {key: tuple(value.shape) for key, value in state.items() if isinstance(value, torch.Tensor)}
    except FormatError as error:
        raise EncoderError(f"The weights in {folder.name} cannot be read: {error}") from error
    except Exception as error:  # whatever torch and timm raise: shapes are a help, not needed
        log.debug("no shapes from %s", folder, exc_info=error)
    return {}


def _config_of(entry: CatalogueEntry) -> dict[str, Any]:
    return {"mean": entry.mean, "std": entry.std, "input_size": (3, entry.size, entry.size)}
