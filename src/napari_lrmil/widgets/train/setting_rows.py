"""Rows of a tree for the settings of a training that have no field of their own."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QTreeWidget, QTreeWidgetItem

from lrmil.io.settings import parse_value

NAME = Qt.ItemDataRole.UserRole
TIP = Qt.ItemDataRole.UserRole + 1


def grow(
    parent: QTreeWidgetItem | None, kind: Any, values: Mapping[str, object], *, own: Container[str], prefix: str = ""
) -> None:
    """Add a row for every setting; groups become branches.

    Parameters
    ----------
    parent
        Row to add them to.
    kind
        The group of settings, such as `lrmil.configs.TrainConfig`.
    values
        Its settings by name.
    own
        Dotted names of those that get no row, as they have a field of their own.
    prefix
        Dotted name of the group and a dot; "" for that of all.
    """
    for name, field in kind.__pydantic_fields__.items():
        value, full = values[name], f"{prefix}{name}"
        if full in own:
            continue
        group = field.annotation if isinstance(value, dict) and is_dataclass(field.annotation) else None
        item = QTreeWidgetItem(parent, [name, "" if group else _text(value)])
        item.setData(0, TIP, _description(kind, name) or (group.__doc__ if group else "") or name)
        explain(item, "")
        if group:
            grow(item, group, values[name], own=own, prefix=f"{full}.")  # type: ignore[arg-type]
        else:
            item.setData(0, NAME, full)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)


def leaves_of(tree: QTreeWidget) -> dict[str, QTreeWidgetItem]:
    """Return the rows of settings, by their dotted name."""
    return {item.data(0, NAME): item for item in _below(tree.invisibleRootItem()) if item.data(0, NAME)}


def explain(item: QTreeWidgetItem, idle: str) -> None:
    """Show what the setting in a row is; grey it out if it does nothing, for the reason `idle`."""
    item.setDisabled(bool(idle))
    for column in (0, 1):
        item.setToolTip(column, idle_tip(item.data(0, TIP), idle))


def idle_tip(tip: str, idle: str) -> str:
    """Return the tip of a setting, with the reason why it does nothing, if it does."""
    return f"{tip}\nDoes nothing now: {idle}." if idle else tip


def values_of(leaves: Mapping[str, QTreeWidgetItem]) -> dict[str, object]:
    """Return the value in each row."""
    return {name: parse_value(item.text(1)) for name, item in leaves.items()}


def texts_of(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return the text of each setting by its dotted name."""
    texts: dict[str, str] = {}
    for name, value in values.items():
        texts |= (
            texts_of(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": _text(value)}
        )
    return texts


def _description(kind: Any, name: str) -> str:
    """Return what a setting is; pydantic keeps no description of an inherited one."""
    fields = (getattr(one, "__pydantic_fields__", {}).get(name) for one in kind.__mro__)
    return next((field.description for field in fields if field is not None and field.description), "")


def _below(item: QTreeWidgetItem | None) -> Iterator[QTreeWidgetItem]:
    for index in range(0 if item is None else item.childCount()):
        if item is not None and (child := item.child(index)) is not None:
            yield child
            yield from _below(child)


def _text(value: object) -> str:
    """Return a value as TOML writes it, but text without quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)
