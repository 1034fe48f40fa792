"""Load on a worker, once in each process, the very model or encoder that the process that submits work has."""

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from lrmil.errors import LrmilError, RunError
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.models.devices import on_device, pick_device
from lrmil.models.encoders.loading import PatchEncoder, encoder_hash, load_encoder

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SameBundle:
    """Call it to get the model in a folder, loaded once in each process.

    Attributes
    ----------
    folder
        The model folder, which all workers share.
    sha256
        What `Bundle.sha256` must be.
    device
        Where it will compute, as in `pick_device`; "auto" is the fastest device of each worker.
    teacher
        Whether the networks of its teacher are loaded, too.
    """

    folder: Path
    sha256: str
    device: str = "auto"
    teacher: bool = False

    @classmethod
    def of(cls, bundle: Bundle, folder: Path, device: str) -> "SameBundle":
        """Describe a model that was loaded from a folder, with its teacher or without."""
        return cls(folder.absolute(), bundle.sha256, device, bundle.teacher_networks is not None)

    def __call__(self) -> Bundle:
        """Return the model.

        Raises
        ------
        RunError
            If it cannot be loaded here, or is another one.
        """
        return _bundle(self)


@dataclass(frozen=True, slots=True)
class SameEncoder:
    """Call it to get an encoder, loaded once in each process.

    Attributes
    ----------
    name, size, embedding
        As in `load_encoder`.
    sha256
        What its `encoder_hash` must be.
    device, batch_size
        Where it will compute, as in `pick_device`, and how many patches at a time.
    """

    name: str
    size: int
    embedding: str
    sha256: str
    device: str
    batch_size: int

    def __call__(self) -> PatchEncoder:
        """Return the encoder.

        Raises
        ------
        RunError
            If it cannot be loaded here, or is another one.
        """
        return _encoder(self)


@lru_cache(maxsize=1)
def _bundle(same: SameBundle) -> Bundle:
    def load() -> Bundle:
        bundle, device = load_bundle(same.folder, teacher=same.teacher), pick_device(same.device)
        networks = bundle.teacher_networks
        if networks:
            networks = networks._replace(encoder=on_device(networks.encoder, device))
        return replace(bundle, encoder=on_device(bundle.encoder, device), teacher_networks=networks)

    return load_same("model", load, lambda bundle: bundle.sha256, same.sha256)


@lru_cache(maxsize=1)
def _encoder(same: SameEncoder) -> PatchEncoder:
    def load() -> PatchEncoder:
        encoder = load_encoder(same.name, size=same.size, embedding=same.embedding)
        return PatchEncoder(encoder, pick_device(same.device), batch_size=same.batch_size)

    return load_same("encoder", load, lambda loaded: encoder_hash(loaded.encoder), same.sha256)


def load_same(what: str, load: Callable[[], T], hash_of: Callable[[T], str], expected: str) -> T:
    """Load on a worker what the process that submits work has.

    Parameters
    ----------
    what
        What it is, for the message.
    load, hash_of, expected
        What loads it, what hashes it, and the hash that it must have.

    Raises
    ------
    RunError
        If it cannot be loaded here, or is another one.
    """
    host = socket.gethostname()
    try:
        loaded = load()
    except (LrmilError, OSError) as error:
        raise RunError(f"The worker on {host} cannot load the {what}: {error}") from error
    if hash_of(loaded) != expected:
        raise RunError(f"The worker on {host} has another {what} than this call. Give all workers the same files.")
    return loaded
