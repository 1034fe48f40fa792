"""Settings of a training run: frozen, validated, refusing unknown names."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from lrmil.errors import ConfigError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def _require_layers(layers: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(layers)) < len(layers) or any(layer < -1 for layer in layers):
        raise ValueError("each block once, counted from 0, or -1 for the final feature map")
    return layers


def _onto_defaults(kind: type, given: Mapping[str, object]) -> dict[str, object]:
    defaults = {field.name: field.default for field in fields(kind)}
    return {name: _onto(defaults.get(name), value) for name, value in given.items()}


def _onto(default: object, value: object) -> object:
    """Lay the named values of a group over the others that it has in this place; any other value stands alone."""
    if not isinstance(value, Mapping):
        return value
    if is_dataclass(default) and not isinstance(default, type):
        default = {field.name: getattr(default, field.name) for field in fields(default)}
    if not isinstance(default, Mapping):
        return value
    return {**default, **{name: _onto(default.get(name), one) for name, one in value.items()}}


def _require_patch_size(size: int) -> int:
    if size and size < 16:
        raise ValueError("16 px or more, or 0 for the encoder's own size")
    return size


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Group:
    """A group of settings: what is left out of a nested group keeps the default that it has in this place."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: object) -> object:
        """Complete nested groups: a fit in the MIL has other defaults than `FitConfig` alone."""
        if isinstance(given, ArgsKwargs):  # the constructor was called
            return ArgsKwargs(given.args, _onto_defaults(cls, given.kwargs or {}))
        return _onto_defaults(cls, given) if isinstance(given, Mapping) else given


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FitConfig(Group):
    """The one training loop: AdamW with warm-up and cosine decay, early stopping on validation.

    These are its own defaults; `stage1` and `mil` have others, which ``mil={"fit": {"epochs": 2}}`` keeps.
    """

    epochs: Annotated[int, Field(ge=0)] = 50
    """Passes over the training data; 0 leaves the module as it started."""
    learning_rate: Positive = 3e-4
    """Highest rate of AdamW."""
    weight_decay: NonNegative = 1e-2
    """Decoupled weight decay of AdamW."""
    warmup: Fraction = 0.1
    """Fraction of all steps over which the learning rate rises from 0."""
    clip: Positive = 1.0
    """Largest norm of the gradient."""
    patience: Count = 15
    """Epochs without a better validation score before training stops."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stage1Config(Group):
    """Patch-level cross-resolution distillation (method.md section 5)."""

    weighting: Literal["teacher_attention", "uniform"] = "uniform"
    """Weights of the HR patches within an LR patch; uniform needs no teacher (docs/benchmarks.md compares them)."""
    layers: Annotated[tuple[int, ...], AfterValidator(_require_layers)] = (0, -1)
    """Lambda: blocks whose token maps are distilled; -1 is the encoder's final feature map."""
    lambda_layer: NonNegative = 1.0
    """Weight of the loss between token maps."""
    lambda_attn: NonNegative = 1.0
    """Weight of the loss between the embedding and the region's mean."""
    standardised: bool = False
    """Divide targets and students by the deviation of each target channel."""
    cosine: bool = False
    """1 - cosine in place of the squared error of the region loss."""
    augment: bool = True
    """Flips and quarter turns that carry the targets along; colour jitter of the LR input."""
    batch_size: Count = 16
    """LR patches per training step."""
    patches_per_epoch: Count = 8192
    """LR patches drawn per epoch, all of them where a cohort has fewer."""
    validation_patches: Count = 2048
    """LR patches that tell when to stop, all of them where a cohort has fewer."""
    fit: FitConfig = FitConfig(epochs=8, learning_rate=5e-4, patience=4)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MILConfig(Group):
    """The attention MIL of all three arms (method.md section 6): teacher, baseline and student share it."""

    gated: bool = True
    """Gated attention; false is the plain kind."""
    hidden_dim: Count = 128
    """Dimension of the attention network's hidden layer."""
    projection_dim: Annotated[int, Field(ge=0)] = 0
    """Dimension of the shared projection W_0; 0 leaves it out."""
    standardised: bool = False
    """Standardise every input channel by the training patches. Off: on real tissue it let noise channels overfit."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Fraction of the embedding's values set to 0 in training."""
    patch_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Fraction of a bag's patches left out at each training step."""
    slides_per_step: Count = 8
    """Bags between two updates of the weights."""
    fit: FitConfig = FitConfig(learning_rate=2e-3, patience=20)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stage2Config(Group):
    """Slide-level distillation (method.md section 7)."""

    lambda_ce: NonNegative = 1.0
    """Weight of the cross-entropy with the labels."""
    lambda_bag: NonNegative = 0.1
    """Weight of the loss between the slides' outputs."""
    lambda_soft: NonNegative = 0.1
    """Weight of the loss between attention maps."""
    lambda_hard: NonNegative = 0.1
    """Weight of the ranking of the most and the least attended patches."""
    bag_temperature: Positive = 1.0
    """Softens the outputs of both models in the loss between them."""
    attention_temperature: Positive = 1.0
    """Softens the attention of both models in the loss between them."""
    fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """rho: part of a bag that is top (and bottom) in the ranking loss."""
    k_max: Count = 8
    """Most patches at each end in the ranking loss."""
    warm_start: bool = False
    """Begin from the teacher MIL's weights."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainConfig(Group):
    """Everything a training run depends on besides the slides and the labels table."""

    encoder: str = "mobilenetv2_100"
    """HR encoder: a name of ``lrmil encoders``, a timm name, ``hf-hub:owner/name`` or ``local-dir:folder``."""
    student_encoder: str = ""
    """LR encoder; empty: the same as the HR encoder, starting from its weights."""
    pretrained: bool = True
    """Load the encoder's weights; false gives seeded random weights (for demonstrations and tests)."""
    embedding: Literal["pooled", "cls", "mean", "cls+mean"] = "pooled"
    """What of the encoder's output is a patch's embedding; pooled is the model's own way."""
    mpp_hr: Positive = 0.5
    """Resolution of the HR patches, um/px."""
    mpp_lr: Positive = 2.0
    """Resolution of the LR patches, um/px; a whole multiple of `mpp_hr`."""
    patch_size: Annotated[int, AfterValidator(_require_patch_size)] = 0
    """Side of a patch in pixels; 0: the HR encoder's own, 256 where it takes any size."""
    min_tissue: Fraction = 0.25
    """Least fraction of an LR patch that must be tissue."""
    min_tissue_hr: Fraction = 0.25
    """Least fraction of an HR patch that must be tissue."""
    max_failed: Fraction = 0.2
    """Fraction of unreadable patches above which a slide fails."""
    use_objective_power: bool = False
    """Let the magnification that a slide states stand in for a missing um/px (10 / magnification)."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds of the cross-validation; not used where the table has a split or fold column."""
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the training cases that validate."""
    seed: int = 0
    """Seed of all that is random."""
    batch_size: Count = 64
    """Patches per encoding batch; halved by itself when the device's memory does not suffice."""
    threads: Count = 2
    """Decoding threads."""
    stage1: Stage1Config = Stage1Config()
    mil: MILConfig = MILConfig()
    stage2: Stage2Config = Stage2Config()


def from_dict(values: dict[str, object]) -> TrainConfig:
    """Check plain values and build the configuration.

    Raises
    ------
    ConfigError
        Naming every unknown setting and every value out of range.
    """
    try:
        return TypeAdapter(TrainConfig).validate_python(values)
    except ValidationError as error:
        raise ConfigError(f"Expected valid settings. Got: {_explain(error)}") from error


def mil_from_dict(values: object) -> MILConfig:
    """Check plain values and build the MIL's configuration.

    Raises
    ------
    ConfigError
        As `from_dict`.
    """
    try:
        return TypeAdapter(MILConfig).validate_python(values)
    except ValidationError as error:
        raise ConfigError(f"Expected valid MIL settings. Got: {_explain(error)}") from error


def to_dict(config: TrainConfig) -> dict[str, object]:
    """Plain values, TOML- and JSON-ready; the inverse of `from_dict`."""
    values = asdict(config)
    values["stage1"]["layers"] = list(config.stage1.layers)
    return values


def with_settings(config: TrainConfig, settings: dict[str, object]) -> TrainConfig:
    """Change settings by dotted name, such as ``{"stage1.weighting": "uniform"}``.

    Raises
    ------
    ConfigError
        If a name is unknown or a value is out of range.
    """
    values = to_dict(config)
    for name, value in settings.items():
        *groups, leaf = name.split(".")
        group = values
        for part in groups:
            inner = group.get(part)
            if not isinstance(inner, dict):
                raise ConfigError(f"Expected a setting of TrainConfig. Got {name!r}, and there is no group {part!r}.")
            group = inner
        group[leaf] = _onto(group.get(leaf), value)
    return from_dict(values)


def parse_value(text: str) -> object:
    """Read the value of a setting that a person wrote: a TOML value, or else the text itself without outer spaces.

    Parameters
    ----------
    text
        Such as ``0.5``, ``true``, ``[0, -1]``, ``"uniform"`` or ``uniform``.

    Returns
    -------
    object
        What TOML has for it; text if it is not one TOML value.
    """
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # TOMLDecodeError is a ValueError, as is a number of too many digits
        return text.strip()
    return found["value"] if found.keys() == {"value"} else text.strip()


def _explain(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'settings'}: {problem['msg']} (came: {problem['input']!r})"
        for problem in error.errors()
    )
