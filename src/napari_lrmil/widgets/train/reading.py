"""How the labels table is read, where its column names do not tell: folded away, since most tables need none of it."""

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QLineEdit, QWidget
from superqt import QCollapsible

from lrmil.cohorts.columns import TableOptions

FOUND = "found by its name"
FIELDS = {
    "slide_column": ("Slides", FOUND, "Column of slide names, where it has another name than slide_id or an alias"),
    "case_column": (
        "Patients",
        FOUND,
        "Column of patients; where no column names slides, a row's label counts for all slides whose name begins so",
    ),
    "label_column": ("Classes", FOUND, "Column of classes, where it has another name than label or an alias"),
    "positive": ("Positive class", "told by the names", "The positive one of two classes"),
}


class ReadingBox(QCollapsible):
    """Fields for `TableOptions`."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Columns and classes", parent)
        self.fields = {name: QLineEdit() for name in FIELDS}
        self._task = ""  # of an opened run
        self.skip_missing = QCheckBox("Leave out rows whose slide is not there")
        inner = QWidget()
        form = QFormLayout(inner)
        form.setContentsMargins(0, 0, 0, 0)
        for name, (title, placeholder, tip) in FIELDS.items():
            field = self.fields[name]
            field.setPlaceholderText(placeholder)
            field.setToolTip(tip)
            field.textChanged.connect(self.changed)
            form.addRow(title, field)
        self.skip_missing.setToolTip("As in a registry of more slides than the folder has; they are counted and named")
        self.skip_missing.toggled.connect(self.changed)
        form.addRow(self.skip_missing)
        self.addWidget(inner)

    @property
    def options(self) -> TableOptions:
        """What the fields say."""
        texts = {name: field.text().strip() for name, field in self.fields.items()}
        return TableOptions(**texts, skip_missing=self.skip_missing.isChecked(), task=self._task)

    def show_options(self, options: TableOptions) -> None:
        """Put options into the fields, and say so once where they differ."""
        if options == self.options:
            return
        blockers = [QSignalBlocker(field) for field in (*self.fields.values(), self.skip_missing)]
        for name, field in self.fields.items():
            field.setText(getattr(options, name))
        self.skip_missing.setChecked(options.skip_missing)
        self._task = options.task
        for blocker in blockers:
            blocker.unblock()
        if options != TableOptions():
            self.expand(animate=False)
        self.changed.emit()
