"""Choose where the model runs: auto, or one of the available devices, with its free memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QToolButton, QWidget

from lrmil.steps import Step
from napari_lrmil.jobs.worker import JobWorker, start_job
from napari_lrmil.state.messages import explain

if TYPE_CHECKING:
    from lrmil.models.devices import Device


class DeviceBox(QWidget):
    """List of devices. They are looked up in a thread, because this imports torch.

    Parameters
    ----------
    preferred
        Device that is chosen at first: auto, cpu, cuda:0, ...
    """

    def __init__(self, preferred: str = "auto", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.devices = QComboBox()
        self.devices.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.devices.setAccessibleName("Device")
        self.devices.setToolTip("Where the model runs; auto is the fastest device that there is")
        self.devices.addItem("auto (fastest available)", "auto")
        if preferred != "auto":
            self.devices.addItem(preferred, preferred)
            self.devices.setCurrentIndex(1)
        self.again = QToolButton()
        self.again.setText("↻")
        self.again.setToolTip("Look up devices and free memory again")
        self.again.setAccessibleName("Look up devices again")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.devices, 1)
        row.addWidget(self.again)
        self.again.clicked.connect(self.look)
        self._job: JobWorker | None = None

    @property
    def device(self) -> str:
        """The chosen device, as `lrmil.predict` takes it."""
        return str(self.devices.currentData())

    @property
    def looking(self) -> bool:
        """Whether the devices are being looked up."""
        return self._job is not None

    def look(self) -> None:
        """Look up the available devices and list them."""
        if not self.looking:
            self._job = start_job(
                _devices,
                name="look for devices",
                on_result=self._fill,
                on_error=lambda error: self.devices.setToolTip(explain(error)),
                on_end=self._ended,
                owner=self,
            )

    def _ended(self) -> None:
        self._job = None

    def _fill(self, found: "list[Device]") -> None:
        chosen = self.device
        self.devices.clear()
        self.devices.addItem(f"auto ({found[0].name})", "auto")
        for device in found:
            free = "" if device.free_bytes is None else f", {device.free_bytes / 2**30:.1f} GiB free"
            self.devices.addItem(f"{device.name}: {device.description}{free}", device.name)
        self.devices.setCurrentIndex(max(0, self.devices.findData(chosen)))


def _devices() -> "Iterator[Step[list[Device]]]":
    from lrmil.models.devices import available_devices

    yield Step(("devices",), 1, 1, result=available_devices())
