"""Options of a prediction, passed down as one value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """How slides are classified.

    Attributes
    ----------
    device
        "auto" or a name of `lrmil.models.devices.available_devices`.
    batch_size, threads
        Patches per encoding batch, and threads that read a slide (0: as many as cores); they do not change the result.
    uncertain_below
        Status "uncertain" when the highest probability is below this, besides the reasons of the model itself.
    escalate
        Whether the model's teacher looks closer at slides that are uncertain (`lrmil.prediction.closer_look`). Without
        it, an answer for which it has done so is kept.
    live
        Whether each Step carries the Prediction so far, with status "partial", for a viewer that shows it.
    saved_masks
        Whether a tissue mask stored beside a slide's answer takes precedence over a given one.
    subtract_bounds
        Whether the GeoJSON starts at the corner of the scanned area; see `lrmil.prediction.exports.write_tiles`.
    """

    device: str = "auto"
    batch_size: int = 64
    threads: int = 2
    uncertain_below: float = 0.0
    escalate: bool = False
    live: bool = False
    saved_masks: bool = False
    subtract_bounds: bool = False


DEFAULTS = PredictOptions()
