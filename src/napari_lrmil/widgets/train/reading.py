"""Options for reading the labels table, folded away because most tables need none of them."""

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QLineEdit, QWidget
from superqt import QCollapsible

from lrmil.cohorts.columns import TableOptions

FOUND = "found by its name"
FIELDS = {
    "slide_column": ("Slides", FOUND, "Column of slide names, if it is not called slide_id or a known alias"),
    "case_column": (
        "Patients",
        FOUND,
        "Column of patients; without a column of slide names, a label applies to all slides named after the patient",
    ),
    "label_column": ("Classes", FOUND, "Column of classes, if it is not called label or a known alias"),
    "positive": ("Positive class", "found by its name", "The positive one of two classes"),
}


SKIP_MISSING = "Skip rows whose slide is not in the folder"
IN_THE_FORM = {
    "--slide-column": "'Slides' under 'Columns and classes'",
    "--case-column": "'Patients' under 'Columns and classes'",
    "--label-column": "'Classes' under 'Columns and classes'",
    "--positive": "'Positive class' under 'Columns and classes'",
    "--skip-missing": f"'{SKIP_MISSING}'",
    "--folds": "'Folds'",
    "--test-fraction": "'Test part'",
    "--patch-size": "'Patch, px'",
    "--mpp-lr": "'LR, um/px'",
}


def with_names_of_fields(text: str) -> str:
    """Return a text of the library with the fields of the form in place of the options of the command line."""
    for option, field in IN_THE_FORM.items():
        text = text.replace(option, field)
    return text


class ReadingBox(QCollapsible):
    """Fields for `TableOptions`."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Columns and classes", parent)
        self.fields = {name: QLineEdit() for name in FIELDS}
        self._task = ""  # of an opened run
        self.skip_missing = QCheckBox(SKIP_MISSING)
        inner = QWidget()
        form = QFormLayout(inner)
        form.setContentsMargins(0, 0, 0, 0)
        for name, (title, placeholder, tip) in FIELDS.items():
            field = self.fields[name]
            field.setPlaceholderText(placeholder)
            field.setToolTip(tip)
            field.textChanged.connect(self.changed)
            form.addRow(title, field)
        self.skip_missing.setToolTip(
            "For a registry of more slides than the folder has; skipped rows are counted and listed"
        )
        self.skip_missing.toggled.connect(self.changed)
        form.addRow(self.skip_missing)
        self.addWidget(inner)

    @property
    def options(self) -> TableOptions:
        """The options in the fields."""
        texts = {name: field.text().strip() for name, field in self.fields.items()}
        return TableOptions(**texts, skip_missing=self.skip_missing.isChecked(), task=self._task)

    def show_options(self, options: TableOptions) -> None:
        """Put options into the fields; emit `changed` once if they differ."""
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
