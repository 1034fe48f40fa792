"""Groups of settings: frozen, validated, and completed with the defaults of the group around them."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from lrmil.operating_point import read_rule

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
MAX_INNER_FOLDS = 10
STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def _require_layers(layers: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(layers)) < len(layers):
        raise ValueError("list each block once")
    return layers


def _require_patch_size(size: int) -> int:
    if size and size < 16:
        raise ValueError("pass 16 px or more, or 0 for the encoder's own size")
    return size


def _require_inner_folds(count: int) -> int:
    if count == 1:
        raise ValueError("pass 0 for none, or 2 folds or more")
    return count


Layers = Annotated[tuple[int, ...], AfterValidator(_require_layers)]
PatchSize = Annotated[int, AfterValidator(_require_patch_size)]


def _require_rule(rule: str) -> str:
    read_rule(rule)
    return rule


OperatingRule = Annotated[str, AfterValidator(_require_rule)]
InnerFolds = Annotated[int, Field(ge=0, le=MAX_INNER_FOLDS), AfterValidator(_require_inner_folds)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Group:
    """A group of settings; missing settings of a nested group keep the defaults that this group gives them."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: object) -> object:
        """Complete nested groups: `fit` has other defaults in `MILConfig` than `FitConfig` alone."""
        if isinstance(given, ArgsKwargs):  # the constructor was called
            return ArgsKwargs(given.args, _onto_defaults(cls, given.kwargs or {}))
        return _onto_defaults(cls, given) if isinstance(given, Mapping) else given


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OptimiserConfig(Group):
    """What every training sets: AdamW with warm-up and cosine decay, averaged weights, early stopping on validation."""

    learning_rate: Positive = 3e-4
    """Highest learning rate of AdamW."""
    weight_decay: NonNegative = 1e-2
    """Decoupled weight decay of AdamW."""
    warmup: Fraction = 0.1
    """Fraction of all steps in which the learning rate rises from 0."""
    clip: Positive = 1.0
    """Maximum norm of the gradient; longer gradients are scaled to it."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay per step of the moving average of the weights, which is validated and kept; 0 averages nothing."""
    patience: Count = 15
    """Training stops after this many validations in a row without a better score."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FitConfig(OptimiserConfig):
    """A training in passes over its data, with a validation after each.

    `MILConfig` has other defaults than these; ``mil={"fit": {"epochs": 2}}`` keeps them.
    """

    epochs: Annotated[int, Field(ge=0)] = 50
    """Passes over the training data; 0 skips training."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StepFitConfig(OptimiserConfig):
    """A training in optimisation steps, however many passes over its data they are.

    The steps are an upper limit: the training normally stops earlier, when the smoothed validation loss falls no more.
    """

    steps: Annotated[int, Field(ge=0)] = 3000
    """Optimisation steps at most; 0 skips training."""
    interval: Count = 250
    """Optimisation steps between two validations."""
    learning_rate: Positive = 5e-4
    """Highest learning rate of AdamW."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Decay per step of the moving average of the weights, which is validated and kept; 0 averages nothing."""
    patience: Count = 3
    """Training stops after this many validations in a row without a lower smoothed loss."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CalibrationConfig(Group):
    """Probabilities that mean what they say, by answers on slides that the student's MIL has not seen."""

    folds: InnerFolds = 3
    """Folds of the training slides that are left out in turn, as are the validation slides; 0 calibrates nothing."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DecisionConfig(Group):
    """When a calibrated probability is an answer, and which; learned from the answers for the calibration."""

    operating_point: OperatingRule = "youden"
    """Rule for the threshold of two classes: "youden", "most_probable", "sensitivity=0.95", "specificity=0.95", or
    "costs=5:1", the cost of a missed positive slide against that of a false alarm."""
    coverage: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Share of slides whose class is in the set of those that are plausible; a slide is uncertain where its set has not
    one class. 0 makes no sets."""
    max_risk: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Largest share of wrong answers; a slide that is less sure than this allows is uncertain. 0 sets no limit."""
    with_teacher: bool = False
    """Keep the HR teacher in the model, so that `lrmil predict --escalate` can look closer at uncertain slides."""
    regions: Annotated[int, Field(ge=1, le=1000)] = 4
    """With `with_teacher`: how many LR patches of an uncertain slide the teacher looks into, the most attended ones."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FinishConfig(FitConfig):
    """The end-to-end finish: after stage 2, LR encoder and MIL learn together on sampled LR patches."""

    epochs: Annotated[int, Field(ge=0)] = 0
    """Passes over the training slides; 0, the default, leaves the finish out."""
    patches: Count = 16
    """LR patches of a slide that a training step draws; all of them if it has fewer."""
    slides_per_step: Count = 4
    """Slides per update of the weights."""
    learning_rate: Positive = 2e-5
    """Highest learning rate of the encoder."""
    head_learning_rate: Positive = 2e-4
    """Highest learning rate of the MIL."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay per step of the moving average of the weights, which is validated and kept; 0 averages nothing."""
    augment: bool = True
    """Flip and rotate patches, and jitter their colour, as in stage 1."""
    stain: Fraction = 0.05
    """With `augment`: strength of the changes of haematoxylin, eosin and DAB; 0 leaves them alone."""
    validation_patches: Count = 256
    """LR patches of each validation slide, the same after every epoch; all of them if it has fewer."""


def merged(default: object, value: object) -> object:
    """Merge the given values of a group into its defaults; replace any other default by the value.

    Parameters
    ----------
    default
        A group, its plain values, or the value of one setting.
    value
        What is given for it.
    """
    if not isinstance(value, Mapping):
        return value
    if is_dataclass(default) and not isinstance(default, type):
        default = {field.name: getattr(default, field.name) for field in fields(default)}
    if not isinstance(default, Mapping):
        return value
    return {**default, **{name: merged(default.get(name), one) for name, one in value.items()}}


def _onto_defaults(kind: type, given: Mapping[str, object]) -> dict[str, object]:
    defaults = {field.name: field.default for field in fields(kind)}
    return {name: merged(defaults.get(name), value) for name, value in given.items()}
