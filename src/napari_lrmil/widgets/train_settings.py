"""The settings of a training: the few that matter as fields, all others in a tree that is folded away."""

import tomllib
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from lrmil.configs import TrainConfig, to_dict, with_settings
from lrmil.resolution import parse_mpp
from napari_lrmil.widgets.device_box import DeviceBox

ENCODERS = ("mobilenetv2_100", "resnet50", "vit_small_patch16_224", "mobilenetv3_small_050")
SHOWN = ("encoder", "mpp_hr", "mpp_lr", "patch_size", "folds", "seed")


class SettingsBox(QWidget):
    """Builds a TrainConfig; `config` raises a ConfigError for what cannot be."""

    changed = Signal()

    def __init__(self, preferred_device: str = "auto", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.encoder = QComboBox()
        self.encoder.setEditable(True)
        self.encoder.addItems(ENCODERS)
        self.encoder.setToolTip("HR encoder: a timm name, hf-hub:owner/name or local-dir:folder")
        self.encoder.setMinimumContentsLength(18)
        self.encoder.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.mpp_hr, self.mpp_lr = QLineEdit(), QLineEdit()
        self.patch_size, self.folds, self.seed = QSpinBox(), QSpinBox(), QSpinBox()
        self.patch_size.setRange(16, 4096)
        self.folds.setRange(2, 100)
        self.seed.setRange(0, 2**31 - 1)
        self.device = DeviceBox(preferred_device)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for name, field in (
            ("Encoder", self.encoder),
            ("HR, um/px or 20x", self.mpp_hr),
            ("LR, um/px or 5x", self.mpp_lr),
            ("Patch side, px", self.patch_size),
            ("Folds", self.folds),
            ("Seed", self.seed),
            ("Device", self.device),
        ):
            form.addRow(name, field)
        self.tree = QTreeWidget()
        self.tree.setHeaderLabels(["setting", "value"])
        self.tree.setMinimumHeight(260)
        folded = QCollapsible("More settings")
        folded.addWidget(self.tree)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addWidget(folded)
        self.show_config(TrainConfig())
        self.folds.valueChanged.connect(lambda value: self.changed.emit())

    def config(self) -> TrainConfig:
        """Read the fields.

        Raises
        ------
        ConfigError
            Naming the setting that cannot be.
        """
        settings: dict[str, object] = {
            "encoder": self.encoder.currentText().strip(),
            "mpp_hr": parse_mpp(self.mpp_hr.text()),
            "mpp_lr": parse_mpp(self.mpp_lr.text()),
            "patch_size": self.patch_size.value(),
            "folds": self.folds.value(),
            "seed": self.seed.value(),
        }
        for item in self._leaves():
            settings[item.data(0, Qt.ItemDataRole.UserRole)] = _value(item.text(1))
        return with_settings(TrainConfig(), settings)

    def show_config(self, config: TrainConfig) -> None:
        """Put a configuration into the fields."""
        self.encoder.setCurrentText(config.encoder)
        self.mpp_hr.setText(f"{config.mpp_hr:g}")
        self.mpp_lr.setText(f"{config.mpp_lr:g}")
        for field, number in (
            (self.patch_size, config.patch_size),
            (self.folds, config.folds),
            (self.seed, config.seed),
        ):
            field.setValue(number)
            field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.tree.clear()
        _grow(self.tree.invisibleRootItem(), TrainConfig, to_dict(config), "")
        self.tree.resizeColumnToContents(0)

    def _leaves(self) -> list[QTreeWidgetItem]:
        return self.tree.findItems("", Qt.MatchFlag.MatchContains | Qt.MatchFlag.MatchRecursive) and [
            item
            for item in self.tree.findItems("", Qt.MatchFlag.MatchContains | Qt.MatchFlag.MatchRecursive)
            if item.data(0, Qt.ItemDataRole.UserRole)
        ]


def _grow(parent: QTreeWidgetItem, kind: Any, values: Mapping[str, object], prefix: str) -> None:
    """Add a row for every setting that has no field of its own; groups become branches."""
    for name, field in kind.__pydantic_fields__.items():
        value, full = values[name], f"{prefix}{name}"
        if full in SHOWN:
            continue
        item = QTreeWidgetItem(parent, [name, "" if isinstance(value, dict) else _text(value)])
        item.setToolTip(0, field.description or name)
        if isinstance(value, dict) and is_dataclass(field.annotation):
            _grow(item, field.annotation, value, f"{full}.")
        else:
            item.setData(0, Qt.ItemDataRole.UserRole, full)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(text: str) -> object:
    """Read a value as TOML; what is none is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
