"""Look for the weights of an encoder before they are needed: in its folder, in the cache, or on the hub."""

from lrmil.errors import EncoderError
from lrmil.models.encoders.catalogue import CATALOGUE
from lrmil.models.encoders.facts import encoder_facts
from lrmil.models.encoders.folder import HUB, folder_in, require_encoder_files
from lrmil.models.encoders.hub import cached_weights
from lrmil.models.encoders.source import find_source


def require_weights(name: str) -> None:
    """Require that the weights of an encoder are on this machine or can be downloaded; nothing is downloaded.

    Parameters
    ----------
    name
        As in `lrmil.models.encoders.loading.load_encoder`.

    Raises
    ------
    EncoderError
        If there is no such encoder, or its weights cannot be had here.
    """
    if (folder := folder_in(name)) is not None:
        require_encoder_files(folder)
    elif name.lower() in CATALOGUE or name.partition(":")[0].lower() in HUB:
        facts, is_usable = encoder_facts(name)
        if not is_usable:
            raise EncoderError(f"The weights of {name} cannot be had here: {facts['what_to_do']}.")
    elif (source := find_source(name)).folder is None:  # of timm: its name alone is looked at
        cached_weights(source.architecture)
