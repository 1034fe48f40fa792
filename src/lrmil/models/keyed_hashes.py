"""Hashes under a key: a member of bundle.json that says again which names it was made of, and lists none of them.

The key stands beside them, so ids of a known form can be found by trying all (docs/formats.md says what to do).
"""

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import StringConstraints, TypeAdapter

from lrmil.io import hashing
from lrmil.io.plain_data import parse_plain

DIGITS = 16  # of a hash: among a million slides, another one has an equal hash with a probability below 1e-12

Key = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){16}$")]
Hash = Annotated[str, StringConstraints(pattern=f"^[0-9a-f]{{{DIGITS}}}$")]
T = TypeVar("T")


def find_member(document: Mapping[str, object], member: str, kind: type[T]) -> T | None:
    """Return a member of bundle.json; None where it is absent, as in those of earlier versions.

    Parameters
    ----------
    document
        Content of bundle.json.
    member
        Name of the member.
    kind
        Its type.

    Raises
    ------
    FormatError
        If the member is damaged.
    """
    found = document.get(member)
    return None if found is None else parse_plain(TypeAdapter(kind), found)


def new_key(member: str, origin: object) -> str:
    """Return the key of the hashes of a member of bundle.json.

    Parameters
    ----------
    member
        Name of the member.
    origin
        What the training started from, JSON-ready. The key follows from it, so that equal trainings give equal models.
    """
    return hashing.sha256_of([member, origin])[:32]


def keyed_hash(key: str, kind: str, text: str) -> str:
    """Return the hash under `key` of a text of some kind, such as "slide"."""
    return hashing.keyed(key, f"{kind}:{text}")[:DIGITS]
