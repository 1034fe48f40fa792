"""Live losses of both stages: solid for training, dashed for validation, one colour per fold."""

from collections.abc import Sequence

import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from lrmil.runs.arms import FINISH, STAGE_NAMES
from lrmil.runs.progress import EpochRecord

# Okabe and Ito's palette, safe for colour-blind readers. Yellow is last because it is weak on white.
COLORS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442")
MILS = ("lr_student", "teacher", "lr_undistilled")
NAN = float("nan")
BELOW = 6  # px below the axis: pyqtgraph lets its label hang out by 5
STEP = "optimisation step"
FAINT = 150  # alpha, of 255, of the folds that are not being trained


class Curves(QWidget):
    """Two plots: the distillation of the encoder and the MIL of the chosen arm."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.stage1, self.stage2 = _plot("distillation loss"), _plot("cross-entropy")
        self.legend = QLabel()
        self.legend.setWordWrap(True)
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.arm = QComboBox()
        self.arm.setAccessibleName("Attention MIL")
        self.arm.setToolTip("The attention MIL whose losses are drawn below")
        for stage in MILS:
            self.arm.addItem(STAGE_NAMES[stage], stage)
        self._epochs: tuple[EpochRecord, ...] = ()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.legend, QLabel(STAGE_NAMES["lr_encoder"]), self.stage1, self.arm, self.stage2):
            column.addWidget(part)
        self.arm.currentIndexChanged.connect(self._draw_all)

    def show_epochs(self, epochs: tuple[EpochRecord, ...]) -> None:
        """Draw the records of a run, if they changed."""
        if epochs != self._epochs:
            self._epochs = epochs
            self._offer_finish()
            self._draw_all()

    def set_colors(self, *, text: str, background: str) -> None:
        """Draw in the colours of the window's theme."""
        for plot in (self.stage1, self.stage2):
            plot.setBackground(background)
            for name in ("left", "bottom"):
                plot.getAxis(name).setPen(text)
                plot.getAxis(name).setTextPen(text)

    def _offer_finish(self) -> None:
        offered, place = any(record.stage == FINISH for record in self._epochs), self.arm.findData(FINISH)
        if offered and place < 0:
            self.arm.addItem(STAGE_NAMES[FINISH], FINISH)
        elif not offered and place >= 0:
            self.arm.removeItem(place)

    def _draw_all(self) -> None:
        folds = list(dict.fromkeys(record.fold for record in self._epochs))
        current = self._epochs[-1].fold if self._epochs else ""
        self.legend.setText(_legend(folds))
        for plot, stage in ((self.stage1, "lr_encoder"), (self.stage2, str(self.arm.currentData()))):
            plot.clear()
            for fold in sorted(folds, key=lambda fold: fold == current):  # the current one on top
                own = [record for record in self._epochs if (record.stage, record.fold) == (stage, fold)]
                if own:
                    plot.setLabel("bottom", _counted(own[-1]))
                _draw(plot, own, QColor(COLORS[folds.index(fold) % len(COLORS)]), faint=fold != current)


def _plot(loss: str) -> pg.PlotWidget:
    plot = pg.PlotWidget(background=None)
    plot.setFixedHeight(200)
    plot.setLabel("bottom", "epoch")
    plot.setLabel("left", loss)
    plot.getAxis("left").enableAutoSIPrefix(enable=False)
    plot.getAxis("left").setWidth(80)  # the same width for both plots, so that the plots align
    plot.getPlotItem().layout.setContentsMargins(1, 1, 1, BELOW)
    plot.setMouseEnabled(x=False, y=False)
    plot.setMenuEnabled(False)
    menu = plot.getPlotItem().ctrlMenu  # without a parent, as pyqtgraph makes it, it would outlive the plot
    menu.setParent(plot, menu.windowFlags())
    plot.hideButtons()
    plot.showGrid(x=False, y=True, alpha=0.2)
    plot.setLimits(minXRange=1)
    return plot


def _draw(plot: pg.PlotWidget, records: Sequence[EpochRecord], color: QColor, *, faint: bool) -> None:
    """Draw the two lines of one fold; a value that a record does not have leaves a gap."""
    if not records:
        return
    color.setAlpha(FAINT if faint else 255)
    at = [record.step if _counted(record) == STEP else record.epoch for record in records]
    lines = {Qt.PenStyle.SolidLine: _training, Qt.PenStyle.DashLine: lambda record: record.metrics.get("val_loss", NAN)}
    for style, value_of in lines.items():
        values = [value_of(record) for record in records]
        symbol = "o" if len(at) == 1 else None
        pen = pg.mkPen(color, width=1 if faint else 2, style=style)
        plot.plot(at, values, pen=pen, symbol=symbol, symbolPen=color, symbolBrush=color, symbolSize=5)


def _counted(record: EpochRecord) -> str:
    """Return what the axis counts: stage 1 is trained by steps, but not by earlier versions."""
    return STEP if record.stage == "lr_encoder" and record.step else "epoch"


def _training(record: EpochRecord) -> float:
    """Return the training loss: of a MIL the cross-entropy, as in validation; of the encoder the whole loss."""
    return record.metrics.get("train_ce", record.metrics.get("train_loss", NAN))


def _legend(folds: Sequence[str]) -> str:
    """Return rich text: a square in the colour of each fold. Fold names contain only letters, digits, - _ and ."""
    squares = [f'<span style="color: {COLORS[i % len(COLORS)]}">\u25a0</span> {fold}' for i, fold in enumerate(folds)]
    return "solid: training, dashed: validation<br>" + "&nbsp; ".join(squares)
