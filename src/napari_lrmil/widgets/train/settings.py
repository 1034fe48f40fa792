"""The settings of a training: the most important as fields, all others in a folded tree."""

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from lrmil.configs import TrainConfig, to_dict, with_settings
from lrmil.errors import ConfigError, EncoderError
from lrmil.geometry import resolution_ratio
from lrmil.idle_settings import idle_settings
from lrmil.models.encoders.catalogue import CATALOGUE
from lrmil.models.encoders.folder import FOLDER, folder_in, require_encoder_files
from lrmil.presets import PARTS, find_preset, preset
from lrmil.slides.resolution import parse_mpp
from napari_lrmil.widgets.device_box import DeviceBox
from napari_lrmil.widgets.train.checking import Planned
from napari_lrmil.widgets.train.preset_box import OWN, PresetBox
from napari_lrmil.widgets.train.setting_rows import explain, grow, idle_tip, leaves_of, texts_of, values_of

ENCODERS = ("mobilenetv2_100", "resnet50", "vit_small_patch16_224", "mobilenetv3_small_050")
TIPS = {
    "encoder": "HR encoder: a name from `lrmil encoders`, a timm name, hf-hub:owner/name or a folder (button ...)",
    "mpp_hr": "Resolution that the teacher reads in training, in um/px or as 20x",
    "mpp_lr": "Resolution that the model will read, in um/px or as 5x; a whole multiple of the HR one",
    "patch_size": "Side of a patch in pixels, at both resolutions; the lowest value means the encoder's own",
    "folds": "Folds of the cross-validation; ignored if the table has a column split or fold, or with a test part",
    "test_fraction": "Share of the cases to keep aside and test the very model that is shipped on; 0 means folds",
    "seed": "Seed for everything random: the same seed gives the same model",
}
SHARE_DIGITS = 6
USUAL_SIZE = 256  # px of a patch, where the encoder's own size is not known before it is loaded
OWN_SIZE = 15  # one below the smallest patch; means the encoder's own size


class _ShareBox(QDoubleSpinBox):
    """A share without trailing zeros."""

    def textFromValue(self, value: float) -> str:
        return str(self.locale().toString(value, "g", SHARE_DIGITS))


class SettingsBox(QWidget):
    """Form for a TrainConfig; `problem` says which setting is invalid, "" if none is."""

    changed = Signal()

    def __init__(self, preferred_device: str = "auto", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.problem = ""
        self._locked = False
        self._column: str | None = None
        self.preset, self._own = PresetBox(), dict[str, str]()
        self.encoder = QComboBox()
        self.encoder.setEditable(True)
        self.encoder.addItems(ENCODERS)
        self.encoder.setMinimumContentsLength(12)
        self.encoder.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.browse = QToolButton()
        self.browse.setText("...")
        self.browse.setAccessibleName("Browse for an encoder")
        self.browse.setToolTip("Choose the folder of an encoder, with config.json and model.safetensors")
        self.mpp_hr, self.mpp_lr = QLineEdit(), QLineEdit()
        self.mpp_hr.setPlaceholderText("0.5, or 20x")
        self.mpp_lr.setPlaceholderText("2.0, or 5x")
        self.patch_size, self.folds, self.seed = QSpinBox(), QSpinBox(), QSpinBox()
        self.patch_size.setRange(OWN_SIZE, 4096)
        self.patch_size.setSpecialValueText("encoder's own")
        self.folds.setRange(2, 1000)
        self.seed.setRange(-(2**31), 2**31 - 1)
        self.test_fraction = _ShareBox()
        self.test_fraction.setDecimals(SHARE_DIGITS)
        self.test_fraction.setRange(0, 0.99)
        self.test_fraction.setSingleStep(0.05)
        self.test_fraction.setSpecialValueText("none: folds")
        for number in (self.patch_size, self.folds, self.test_fraction, self.seed):
            number.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.device = DeviceBox(preferred_device)
        self.tree = QTreeWidget()
        self.tree.setAccessibleName("More settings")
        self.tree.setHeaderLabels(["setting", "value"])
        self.tree.setMinimumHeight(260)
        self.tree.setUniformRowHeights(True)
        if (names := self.tree.header()) is not None:
            names.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self.more = QCollapsible("More settings")
        self.more.addWidget(self.tree)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._form())
        column.addWidget(self.more)
        self.show_config(TrainConfig())
        self._listen()

    def config(self) -> TrainConfig:
        """Return the settings in the fields.

        Raises
        ------
        ConfigError
            If a setting is invalid; the message names it.
        EncoderError
            If the folder of the encoder has no model.
        """
        settings: dict[str, object] = {
            "encoder": _with_folder(self.encoder.currentText().strip()),
            "mpp_hr": parse_mpp(self.mpp_hr.text()),
            "mpp_lr": parse_mpp(self.mpp_lr.text()),
            "patch_size": 0 if self.patch_size.value() == OWN_SIZE else self.patch_size.value(),
            "folds": self.folds.value(),
            "test_fraction": self.test_fraction.value(),
            "seed": self.seed.value(),
        }
        settings |= values_of(self.leaves())
        config = with_settings(TrainConfig(), settings)
        if not config.encoder:
            raise ConfigError("No encoder is chosen. Choose one, such as mobilenetv2_100.")
        resolution_ratio(config.mpp_lr, config.mpp_hr)
        if config.pretrained and (folder := folder_in(config.encoder)) is not None:
            require_encoder_files(folder)
        return config

    @property
    def planned(self) -> Planned | None:
        """The patches of the settings; None while these are not valid."""
        try:
            config = self.config()
        except (ConfigError, EncoderError):
            return None
        entry = CATALOGUE.get(config.encoder.lower())
        size = config.patch_size or (entry.size if entry else USUAL_SIZE)
        return Planned(config.mpp_lr, size, resolution_ratio(config.mpp_lr, config.mpp_hr))

    def show_config(self, config: TrainConfig) -> None:
        """Put a configuration into the fields."""
        blockers = [QSignalBlocker(field) for field in (self.encoder, self.mpp_hr, self.mpp_lr, self.tree, self.seed)]
        self._put_encoder(config.encoder)
        self.mpp_hr.setText(str(config.mpp_hr))
        self.mpp_lr.setText(str(config.mpp_lr))
        self.patch_size.setValue(config.patch_size or OWN_SIZE)
        self.folds.setValue(config.folds)
        self.test_fraction.setValue(config.test_fraction)
        self.seed.setValue(config.seed)
        self.tree.clear()
        self._own = {}
        self.preset.forget_own()
        grow(self.tree.invisibleRootItem(), TrainConfig, to_dict(config), own=TIPS)
        self.tree.expandToDepth(0)
        for blocker in blockers:
            blocker.unblock()
        self._check()

    def set_locked(self, *, locked: bool) -> None:
        """Lock or unlock the settings; they can always be read."""
        self._locked = locked
        for field in (*(getattr(self, name) for name in TIPS), self.browse, self.device, self.preset):
            field.setEnabled(not locked)
        self._show_idle()
        triggers = QAbstractItemView.EditTrigger
        self.tree.setEditTriggers(
            triggers.NoEditTriggers if locked else triggers.DoubleClicked | triggers.EditKeyPressed
        )

    def set_test_slides(self, column: str | None) -> None:
        """Disable what does nothing where a column of the table, "split" or "fold", names the test slides."""
        self._column = column
        self._show_idle()

    def leaves(self) -> dict[str, QTreeWidgetItem]:
        """Return the rows of "More settings", by the dotted name of the setting."""
        return leaves_of(self.tree)

    def _form(self) -> QFormLayout:
        encoder = QHBoxLayout()
        encoder.addWidget(self.encoder, 1)
        self.encoder.setAccessibleName("Encoder")
        encoder.addWidget(self.browse)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Preset", self.preset)
        form.addRow(_label("Encoder", "encoder"), encoder)
        for text, name in (
            ("HR, um/px", "mpp_hr"),
            ("LR, um/px", "mpp_lr"),
            ("Patch, px", "patch_size"),
            ("Folds", "folds"),
            ("Test part", "test_fraction"),
            ("Seed", "seed"),
        ):
            form.addRow(_label(text, name), getattr(self, name))
            getattr(self, name).setAccessibleName(text)
        for name, tip in TIPS.items():
            getattr(self, name).setToolTip(tip)
        self.encoder.currentTextChanged.connect(lambda text: self.encoder.setToolTip(f"{text}\n{TIPS['encoder']}"))
        form.addRow("Device", self.device)
        return form

    def _listen(self) -> None:
        self.preset.chosen.connect(self._put_preset)
        self.encoder.currentTextChanged.connect(self._check)
        for text in (self.mpp_hr, self.mpp_lr):
            text.textChanged.connect(self._check)
        for number in (self.patch_size, self.folds, self.test_fraction, self.seed):
            number.valueChanged.connect(self._check)
        self.tree.itemChanged.connect(self._check)
        self.browse.clicked.connect(self._ask_for_encoder)

    def _check(self, *_: object) -> None:
        try:
            self.config()
            self.problem = ""
        except (ConfigError, EncoderError) as error:
            self.problem = str(error)
        self._show_preset()
        self._show_idle()
        self.changed.emit()

    def _show_idle(self) -> None:
        """Disable what does nothing beside the other settings and the table, and say why in place of what it is."""
        try:
            idle = idle_settings(self.config(), test_slides_in=self._column)
        except (ConfigError, EncoderError):
            return
        for name in ("folds", "test_fraction"):
            field, why = getattr(self, name), idle.get(name, "")
            field.setEnabled(not self._locked and not why)
            field.setToolTip(idle_tip(TIPS[name], why))
        blocker = QSignalBlocker(self.tree)
        for name, item in self.leaves().items():
            explain(item, idle.get(name, ""))
        blocker.unblock()

    def _put_preset(self, name: str) -> None:
        """Fill in what presets are about; the other settings stay."""
        blocker = QSignalBlocker(self.tree)
        texts = self._own if name == OWN else texts_of(to_dict(preset(name)))
        for leaf, item in self._preset_leaves().items():
            item.setText(1, texts[leaf])
        blocker.unblock()
        self._check()

    def _show_preset(self) -> None:
        leaves = self._preset_leaves()
        try:
            name = find_preset(with_settings(TrainConfig(), values_of(leaves))) or OWN
        except ConfigError:
            name = OWN
        if name == OWN:
            self._own = {leaf: item.text(1) for leaf, item in leaves.items()}
        self.preset.show_name(name)

    def _preset_leaves(self) -> dict[str, QTreeWidgetItem]:
        return {name: item for name, item in self.leaves().items() if name.split(".")[0] in PARTS}

    def _ask_for_encoder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of an encoder")
        if folder:
            self._put_encoder(f"local-dir:{folder}")

    def _put_encoder(self, name: str) -> None:
        self.encoder.setCurrentText(name)
        if (line := self.encoder.lineEdit()) is not None:
            line.setCursorPosition(0)  # show the beginning of a long name


def _label(text: str, name: str) -> QLabel:
    label = QLabel(text)
    label.setToolTip(TIPS[name])
    return label


def _with_folder(name: str) -> str:
    """Return the name of an encoder, of an existing folder as the library takes it from any place."""
    folder = folder_in(name)
    return name if folder is None or name.lower().startswith(f"{FOLDER}:") else f"{FOLDER}:{folder.absolute()}"
