"""Model folders of the Hugging Face hub: from its cache where they are there, else one quick look whether it answers.

The hub's own client retries for up to a minute when nothing answers; a machine without network gets one sentence at
once.
"""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

from lrmil.errors import EncoderError

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in timm's order
MAX_WAIT = 3.0  # seconds until a hub that does not answer counts as out of reach
WAYS_OUT = (
    "Ways out: download the model where there is a network and copy its folder (config.json and model.safetensors), "
    "then pass local-dir:FOLDER; copy the hub's cache (HF_HOME) from another machine; or pass another encoder."
)


class HubModel(NamedTuple):
    """A model of the hub whose files are on this machine."""

    folder: Path
    revision: str
    """Commit of the repository, "" where the cache does not say."""


class Availability(NamedTuple):
    """Whether a model can be had, found out without downloading it."""

    cached: bool
    token: bool
    """A token of the hub is stored on this machine; gated models need one."""
    offline: bool
    """The hub may not be asked: HF_HUB_OFFLINE is set."""
    reachable: bool | None
    """The hub answers; None where that did not need to be known."""


def hub_model(hub_id: str) -> HubModel:
    """Give the folder with configuration and weights of ``owner/name`` or ``owner/name@revision``.

    Raises
    ------
    EncoderError
        At once when the hub is out of reach, and when it does not give the files.
    """
    repository, _, revision = hub_id.partition("@")
    return find_cached(repository, revision) or _download(repository, revision)


def find_cached(repository: str, revision: str = "") -> HubModel | None:
    """Look for a model in the hub's cache alone."""
    try:
        config = _cached(repository, revision, filename=CONFIG)
    except ValueError as error:  # of huggingface_hub: no name of a repository
        raise EncoderError(f"Expected hf-hub:owner/name. Got {repository[:100]!r}.") from error
    if config is None:
        return None
    there = any((config.parent / name).exists() for name in WEIGHTS)
    return _model_in(config.parent) if there else None


def availability(hub_id: str) -> Availability:
    """Say whether a model can be had; nothing of it is downloaded."""
    cached = find_cached(*hub_id.partition("@")[::2]) is not None
    offline = constants.HF_HUB_OFFLINE
    reachable = None if cached or offline else answers(constants.ENDPOINT)
    return Availability(cached, huggingface_hub.get_token() is not None, bool(offline), reachable)


def cached_weights(name: str) -> Path | None:
    """Give the file with the weights of a timm name, once they are in the cache of the hub or of torch.

    Raises
    ------
    EncoderError
        At once when they are not there and cannot be downloaded.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        return None  # timm says so itself
    if config.hf_hub_id and not config.custom_load:
        wanted = (config.hf_hub_filename,) if config.hf_hub_filename else WEIGHTS
        found = [path for one in wanted if (path := _cached(*_repository(config.hf_hub_id), filename=one))]
        if found:
            return found[0]
        _require_answer(name, constants.ENDPOINT)
        return None
    if not (Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(config.url).path).name).exists():
        _require_answer(name, config.url)
    return None


def _repository(hub_id: str) -> tuple[str, str]:
    repository, _, revision = hub_id.partition("@")
    return repository, revision


def _cached(repository: str, revision: str = "", *, filename: str) -> Path | None:
    found = huggingface_hub.try_to_load_from_cache(repository, filename, revision=revision or None)
    return Path(found) if isinstance(found, str) else None


def _model_in(folder: Path) -> HubModel:
    return HubModel(folder, folder.name if folder.parent.name == "snapshots" else "")


def _download(repository: str, revision: str) -> HubModel:
    _require_answer(f"hf-hub:{repository}", constants.ENDPOINT)

    def fetch(name: str) -> str:
        return huggingface_hub.hf_hub_download(repository, name, revision=revision or None, etag_timeout=MAX_WAIT)

    try:
        config = Path(fetch(CONFIG))
        try:
            fetch(WEIGHTS[0])
        except EntryNotFoundError:
            fetch(WEIGHTS[1])
    except GatedRepoError as error:
        raise EncoderError(
            f"The hub gives the weights of {repository} only to those whose request was granted. Ask for access on its "
            "page, then log in with `hf auth login` (or set HF_TOKEN) and run the same again."
        ) from error
    except RepositoryNotFoundError as error:
        raise EncoderError(
            f"The hub has no model {repository}, or shows it only to those who are logged in. Check the name; for a "
            "gated model log in with `hf auth login` (or set HF_TOKEN)."
        ) from error
    except EntryNotFoundError as error:
        raise EncoderError(
            f"The hub's {repository} is not in timm's format (config.json with model.safetensors or "
            "pytorch_model.bin). Convert its weights, then pass local-dir:FOLDER."
        ) from error
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(f"The model {repository} could not be downloaded: {said}. {WAYS_OUT}") from error
    return _model_in(config.parent)


def _require_answer(what: str, url: str) -> None:
    """Refuse at once what cannot be downloaded now."""
    if constants.HF_HUB_OFFLINE:
        raise EncoderError(
            f"The weights of {what} are not in the cache, and HF_HUB_OFFLINE forbids to download them. {WAYS_OUT}"
        )
    if not answers(url):
        host = urlsplit(url).hostname
        raise EncoderError(f"The weights of {what} are not in the cache, and {host} cannot be reached. {WAYS_OUT}")


def answers(url: str) -> bool:
    """Ask once, without retries; any answer is one."""
    try:
        huggingface_hub.get_session().head(url, timeout=MAX_WAIT)
    except Exception:  # noqa: BLE001 - httpx's errors or those of requests, as the client's version has it
        return False
    return True
