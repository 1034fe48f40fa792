"""Platt scaling: what answers on slides that a model has not seen say of the probabilities of further slides."""

from dataclasses import asdict
from typing import Annotated, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field, FiniteFloat, model_validator
from pydantic.dataclasses import dataclass

MIN_OF_CLASS = 5  # slides; Platt's targets alone would move the probabilities of fewer by a tenth and more
MAX_CLASSES = 1000
MAX_ODDS = 1e300  # of a class against all others, as a logarithm
Slope = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Calibration:
    """The log odds l of each class become slope * l + offset; positive slopes keep the order of slides in a class."""

    slopes: Annotated[tuple[Slope, ...], Field(min_length=2, max_length=MAX_CLASSES)]
    """One for each class."""
    offsets: tuple[FiniteFloat, ...]
    """One for each class."""
    slides: Annotated[int, Field(ge=1)]
    """Number of slides that they were fitted to."""

    @model_validator(mode="after")
    def _require_pairs(self) -> Self:
        if len(self.slopes) != len(self.offsets):
            raise ValueError("state as many offsets as slopes")
        return self

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def probabilities(self, logits: ArrayLike) -> NDArray[np.float64]:
        """Return the calibrated probabilities (..., c) of logits (..., c); they sum to 1."""
        with np.errstate(over="ignore"):  # a stranger's model may state any finite numbers
            odds = np.asarray(self.slopes) * log_odds(logits) + np.asarray(self.offsets)
        shares = -np.logaddexp(0, -odds.clip(-MAX_ODDS, MAX_ODDS))  # log probabilities of each class against all others
        from scipy.special import softmax  # slow to import, and many commands need none

        return np.asarray(softmax(shares, axis=-1))


def fit_calibration(logits: ArrayLike, targets: ArrayLike) -> Calibration | None:
    """Fit Platt scaling of each class against the others, by scikit-learn's logistic regression.

    Parameters
    ----------
    logits
        (n, c) outputs of models for slides that they were not trained on.
    targets
        (n,) class indices; each class has a slide.

    Returns
    -------
    Calibration or None
        None if the log odds of a class do not rise with its frequency, so that there is no order to keep.

    References
    ----------
    Platt, Advances in Large Margin Classifiers (1999), with its smoothed targets; classes one by one and normalised:
    Zadrozny and Elkan, KDD 2002.
    """
    odds, truth = log_odds(logits), np.asarray(targets)
    classes = odds.shape[1]
    fitted = [_platt(odds[:, place], truth == place) for place in range(1 if classes == 2 else 0, classes)]
    if classes == 2:  # the other class has the same odds with a minus
        fitted = [(fitted[0][0], -fitted[0][1]), *fitted]
    if not all(slope > 0 for slope, _ in fitted):
        return None
    slopes, offsets = zip(*fitted, strict=True)
    return Calibration(slopes=slopes, offsets=offsets, slides=len(truth))


def log_odds(logits: ArrayLike) -> NDArray[np.float64]:
    """Return the log odds (..., c) of each class against all others by the softmax of logits (..., c), c > 1."""
    values = np.asarray(logits, float)
    classes = values.shape[-1]
    others = [np.delete(values, place, axis=-1) for place in range(classes)]
    return np.asarray(values - np.stack([np.logaddexp.reduce(other, axis=-1) for other in others], axis=-1))


def _platt(odds: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and offset; each slide counts to both classes, by Platt's smoothed targets.

    The slope is 0 if all odds are equal.
    """
    from sklearn.linear_model import LogisticRegression  # slow to load, and predictions do not need it

    centre, spread = float(odds.mean()), float(odds.std())
    if odds.min() == odds.max():
        return 0.0, 0.0
    count = int(positive.sum())
    share = np.where(positive, (count + 1) / (count + 2), 1 / (len(positive) - count + 2))
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    twice = np.concatenate([odds, odds])[:, None]
    scaled = (twice - centre) / spread  # far from 0 or hardly different, odds are no column for the solver
    model.fit(scaled, np.repeat([1, 0], len(odds)), sample_weight=np.concatenate([share, 1 - share]))
    slope = float(model.coef_[0, 0]) / spread
    return slope, float(model.intercept_[0]) - slope * centre
