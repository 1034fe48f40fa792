"""One session for each viewer."""

from typing import Any
from weakref import WeakKeyDictionary

from napari_lrmil.session.session import Session


def session_of(viewer: Any) -> Session:
    """Return the session of a viewer, made at its first use.

    Parameters
    ----------
    viewer
        A viewer, or one of the proxies of it that napari hands to widgets.
    """
    model = getattr(viewer, "__wrapped__", viewer)
    if model not in _SESSIONS:
        _SESSIONS[model] = Session(model)
    return _SESSIONS[model]


_SESSIONS: "WeakKeyDictionary[Any, Session]" = WeakKeyDictionary()
