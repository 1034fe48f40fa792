"""Live losses of both stages: solid for training, dashed for validation, one colour a fold."""

from collections.abc import Sequence

import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from lrmil.run_control import EpochRecord

# Okabe and Ito's palette, safe for colour-blind readers and readable on dark and light.
COLORS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442")
STAGE2 = {"lr_student": "LR student (stage 2)", "teacher": "HR teacher", "lr_undistilled": "LR undistilled: the floor"}


class Curves(QWidget):
    """Two plots: the distillation of the encoder, and the MIL of the chosen arm."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.stage1, self.stage2 = _plot(), _plot()
        self.legend = QLabel()
        self.arm = QComboBox()
        for stage, name in STAGE2.items():
            self.arm.addItem(name, stage)
        self._epochs: Sequence[EpochRecord] = ()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.legend, QLabel("Stage 1: LR encoder"), self.stage1, self.arm, self.stage2):
            column.addWidget(part)
        self.arm.currentIndexChanged.connect(lambda: self.show_epochs(self._epochs, force=True))

    def show_epochs(self, epochs: Sequence[EpochRecord], *, force: bool = False) -> None:
        """Draw the records of a run; nothing is drawn anew while they stay the same."""
        if force or len(epochs) != len(self._epochs):
            self._epochs = epochs
            self.legend.setText(_legend(epochs))
            _draw(self.stage1, epochs, "lr_encoder", "train_loss")
            _draw(self.stage2, epochs, str(self.arm.currentData()), "train_ce")


def _plot() -> pg.PlotWidget:
    plot = pg.PlotWidget(background=None)
    plot.setFixedHeight(200)
    plot.setLabel("bottom", "epoch")
    plot.setLabel("left", "loss")
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.showGrid(x=False, y=True, alpha=0.2)
    return plot


def _draw(plot: pg.PlotWidget, epochs: Sequence[EpochRecord], stage: str, train: str) -> None:
    plot.clear()
    records = [record for record in epochs if record.stage == stage]
    folds = list(dict.fromkeys(record.fold for record in epochs))
    for number, fold in enumerate(folds):
        own = [record for record in records if record.fold == fold]
        if not own:
            continue
        x = [record.epoch for record in own]
        color = COLORS[number % len(COLORS)]
        width = 2 if records and fold == records[-1].fold else 1
        for key, style in ((train, Qt.PenStyle.SolidLine), ("val_loss", Qt.PenStyle.DashLine)):
            y = [record.metrics.get(key, record.metrics.get("train_loss", float("nan"))) for record in own]
            symbol = "o" if len(x) == 1 else None
            pen = pg.mkPen(color, width=width, style=style)
            plot.plot(x, y, pen=pen, symbol=symbol, symbolBrush=color, symbolSize=5)


def _legend(epochs: Sequence[EpochRecord]) -> str:
    """Rich text: a square in the colour of each fold."""
    folds = list(dict.fromkeys(record.fold for record in epochs))
    squares = [f'<span style="color: {COLORS[i % len(COLORS)]}">\u25a0</span> {fold}' for i, fold in enumerate(folds)]
    return "solid: training, dashed: validation; " + " ".join(squares)
