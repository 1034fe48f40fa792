"""Model folders of the Hugging Face hub, from its cache or downloaded.

The hub's client retries for up to a minute if nothing answers. Here one quick request comes first, so that a machine
without network fails at once.
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
from lrmil.models.encoders.folder import CONFIG, WEIGHTS

MAX_WAIT = 3.0  # seconds until a hub that does not answer is unreachable
WAYS_OUT = (
    "Options: download the model on a machine with network and copy its folder (config.json and model.safetensors), "
    "then pass local-dir:FOLDER; copy the hub's cache (HF_HOME) from another machine; or pass another encoder."
)


class HubModel(NamedTuple):
    """A model of the hub whose files are on this machine."""

    folder: Path
    revision: str
    """Commit of the repository; "" if the cache does not state it."""


class Availability(NamedTuple):
    """Whether a model can be loaded or downloaded."""

    cached: bool
    token: bool
    """True if a token of the hub is stored on this machine; gated models need one."""
    offline: bool
    """True if HF_HUB_OFFLINE forbids requests to the hub."""
    reachable: bool | None
    """True if the hub answers; None if it was not asked."""


def hub_model(hub_id: str) -> HubModel:
    """Return the folder with configuration and weights of a model, downloading them if needed.

    Parameters
    ----------
    hub_id
        ``owner/name`` or ``owner/name@revision``.

    Raises
    ------
    EncoderError
        If the files are not cached and the hub is unreachable or refuses them.
    """
    repository, _, revision = hub_id.partition("@")
    return find_cached(repository, revision) or _download(repository, revision)


def find_cached(repository: str, revision: str = "") -> HubModel | None:
    """Find a model in the hub's cache; return None if it is not there.

    Parameters
    ----------
    repository
        ``owner/name``.
    revision
        Branch, tag or commit; "" for the default branch.

    Raises
    ------
    EncoderError
        If `repository` is not ``owner/name``.
    """
    try:
        config = _cached(repository, revision, filename=CONFIG)
    except ValueError as error:  # raised by huggingface_hub for an invalid name
        raise EncoderError(f"Expected hf-hub:owner/name. Got {repository[:100]!r}.") from error
    if config is None:
        return None
    there = any((config.parent / name).exists() for name in WEIGHTS)
    return _model_in(config.parent) if there else None


def availability(hub_id: str) -> Availability:
    """Check whether a model can be loaded or downloaded; nothing is downloaded."""
    cached = find_cached(*hub_id.partition("@")[::2]) is not None
    offline = constants.HF_HUB_OFFLINE
    reachable = None if cached or offline else answers(constants.ENDPOINT)
    return Availability(cached, huggingface_hub.get_token() is not None, bool(offline), reachable)


def cached_weights(name: str) -> Path | None:
    """Find the weights of a timm name in the hub's cache.

    Returns
    -------
    Path or None
        The file; None if timm should find or download the weights itself.

    Raises
    ------
    EncoderError
        If they are not cached and cannot be downloaded.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        return None  # timm reports that
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
            f"The weights of {repository} are gated. Request access on its page, log in with `hf auth login` (or set "
            "HF_TOKEN), then run the same command again."
        ) from error
    except RepositoryNotFoundError as error:
        raise EncoderError(
            f"The hub has no model {repository}, or requires a login to show it. Check the name; for a gated model log "
            "in with `hf auth login` (or set HF_TOKEN)."
        ) from error
    except EntryNotFoundError as error:
        raise EncoderError(
            f"The hub's {repository} is not in timm's format (config.json with model.safetensors or "
            "pytorch_model.bin). Convert its weights, then pass local-dir:FOLDER."
        ) from error
    except Exception as error:  # whatever the client of the hub and the network raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(f"The model {repository} could not be downloaded: {reason}. {WAYS_OUT}") from error
    return _model_in(config.parent)


def _require_answer(what: str, url: str) -> None:
    """Raise if `what` cannot be downloaded now."""
    if constants.HF_HUB_OFFLINE:
        raise EncoderError(
            f"The weights of {what} are not in the cache, and HF_HUB_OFFLINE forbids downloading them. {WAYS_OUT}"
        )
    if not answers(url):
        host = urlsplit(url).hostname
        raise EncoderError(f"The weights of {what} are not in the cache, and {host} cannot be reached. {WAYS_OUT}")


def answers(url: str) -> bool:
    """Send one request without retries; any response counts."""
    try:
        huggingface_hub.get_session().head(url, timeout=MAX_WAIT)
    except Exception:  # noqa: BLE001 - httpx's errors or those of requests, as the client's version has it
        return False
    return True
