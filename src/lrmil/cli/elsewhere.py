"""Turn the options for models, several processes and machines into what the library takes."""

import argparse
from typing import TYPE_CHECKING

from lrmil.cli.printing import stderr
from lrmil.slides.each import IN_PROCESS, Executor
from lrmil.slides.inputs import local_encoder
from lrmil.slides.workers import Workers, share_threads

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle
    from lrmil.models.elsewhere import SameBundle, SameEncoder
    from lrmil.models.encoders.loading import PatchEncoder

GATHER = "This shard is done. When all are, the same command without --shard gathers the results."


def executor_of(options: argparse.Namespace) -> Executor:
    """Return where slides are processed.

    Raises
    ------
    ConfigError
        If that needs dask.distributed, and it is not installed.
    """
    return Workers(options.workers, options.scheduler) if _is_elsewhere(options) else IN_PROCESS


def threads_of(options: argparse.Namespace) -> int:
    """Return how many threads read each slide, if the processes of this machine share them."""
    return share_threads(options.threads, executor_of(options))


def model_of(options: argparse.Namespace) -> "Bundle":
    """Return the model of a command, with its teacher if that is to look closer.

    Raises
    ------
    FormatError
        If it cannot be loaded.
    ConfigError
        If it keeps no teacher, and should.
    """
    from lrmil.models.bundle import load_bundle
    from lrmil.prediction.closer_look import require_teacher

    bundle = load_bundle(options.model, teacher=options.escalate)
    if options.escalate:
        require_teacher(bundle)
    return bundle


def model_elsewhere(options: argparse.Namespace, bundle: "Bundle") -> "SameBundle | None":
    """Return what loads the model of a command on a worker; None if there are none."""
    from lrmil.models.elsewhere import SameBundle

    return SameBundle.of(bundle, options.model, options.device) if _is_elsewhere(options) else None


def encoder_elsewhere(options: argparse.Namespace, encoder: "PatchEncoder", sha256: str) -> "SameEncoder | None":
    """Return what loads the encoder of a command on a worker; None if there are none."""
    from lrmil.models.elsewhere import SameEncoder

    folder = local_encoder(options.encoder)
    name = options.encoder if folder is None else str(folder.absolute())
    size = encoder.encoder.spec.size
    same = SameEncoder(name, size, options.embedding, sha256, options.device, options.batch_size)
    return same if _is_elsewhere(options) else None


def say_how_to_gather(options: argparse.Namespace) -> None:
    """Say after a shard what comes next."""
    if options.shard is not None:
        stderr.print(GATHER, markup=False)


def _is_elsewhere(options: argparse.Namespace) -> bool:
    return bool(options.workers or options.scheduler)
