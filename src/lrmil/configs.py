"""Settings of a training run: frozen and validated; unknown names raise."""

from dataclasses import asdict
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lrmil.config_groups import (
    STRICT,
    Count,
    Fraction,
    Group,
    InnerFolds,
    Layers,
    NonNegative,
    PatchSize,
    Positive,
    merged,
)
from lrmil.config_groups import CalibrationConfig as CalibrationConfig
from lrmil.config_groups import DecisionConfig as DecisionConfig
from lrmil.config_groups import FinishConfig as FinishConfig
from lrmil.config_groups import FitConfig as FitConfig
from lrmil.config_groups import OptimiserConfig as OptimiserConfig
from lrmil.config_groups import StepFitConfig as StepFitConfig
from lrmil.config_problems import explain, hint
from lrmil.errors import ConfigError

HeadName = Literal["abmil", "mean", "max", "transmil", "dsmil", "clam_sb"]
AUTO: Final = "auto"
HeadSetting = Literal[HeadName, "auto"]
Teacher = Literal["region", "region_attention", "patch"]
CaseRuleSetting = Literal["auto", "mean", "max", "noisy-or"]
Balance = Literal["auto", "none", "sampling", "logits"]
IMBALANCE = 5  # a class is rare if another has so many times its slides, or cases


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stage1Config(Group):
    """Patch-level cross-resolution distillation (method.md section 5)."""

    weighting: Literal["teacher_attention", "uniform"] = "uniform"
    """Weights of the HR patches in an LR patch; "uniform" needs no teacher (compared in docs/benchmarks.md)."""
    layers: Layers = (0, -1)
    """Lambda: blocks whose token maps are distilled, from 0; -1 is the final feature map, -2 the last block but one."""
    lambda_layer: NonNegative = 1.0
    """Weight of the loss between token maps."""
    lambda_attn: NonNegative = 1.0
    """Weight of the loss between the embedding and the mean of its region."""
    lambda_keep: NonNegative = 1.0
    """Weight of the loss that keeps the embedding near that of the frozen start; a linear map of it then matches the
    HR targets. 0 makes the embedding itself match them, as in the paper."""
    standardised: bool = False
    """Divide targets, also the embeddings of the start, and student outputs by the deviation of each target channel."""
    cosine: bool = False
    """Use 1 - cosine instead of the squared error in the region loss."""
    augment: bool = True
    """Flip and rotate patches with their targets; jitter the colour of the LR input."""
    stain: Fraction = 0.05
    """With `augment`: strength of the changes of haematoxylin, eosin and DAB in the LR input; 0 leaves them alone."""
    batch_size: Count = 16
    """LR patches per training step."""
    patches_per_epoch: Count = 8192
    """LR patches drawn per pass over the slides, at most; the steps may need several passes, or a part of one."""
    validation_patches: Count = 2048
    """LR patches of the validation score; all of them if the cohort has fewer."""
    fit: StepFitConfig = StepFitConfig()


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MILConfig(Group):
    """The MIL that teacher, baseline and student share (method.md section 6)."""

    head: HeadSetting = "abmil"
    """Head of the MIL, a file in lrmil/models/heads; "auto" chooses abmil, mean or max in each fold, on inner folds."""
    gated: bool = True
    """Gated attention; false is plain attention. Of abmil, clam_sb and a teacher's attention within regions."""
    hidden_dim: Count = 128
    """Dimension of the attention network's hidden layer. Of abmil, dsmil, clam_sb and attention within regions."""
    projection_dim: Annotated[int, Field(ge=0)] = 0
    """Dimension of the shared projection W_0; 0 omits it. In transmil and clam_sb, which need one, 0 is 512."""
    standardised: bool = False
    """Standardise input channels by the training patches; off, since noise channels overfitted on real tissue."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Fraction of the embedding's values set to 0 in training."""
    patch_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Fraction of a bag's patches omitted at each training step."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 5
    """Members of an ensemble that differ in their seed; they are trained together, and their mean answers."""
    select_from: Annotated[int, Field(ge=0)] = 20
    """Validation cases of each class needed to select the epoch; with fewer, all epochs on training and validation."""
    balance: Balance = "auto"
    """For rare classes: draw slides of each class equally often, or adjust logits by class frequency in training;
    "auto" draws equally often where a class has a fifth of the slides of another, or less."""
    slides_per_step: Count = 8
    """Bags per update of the weights."""
    fit: FitConfig = FitConfig(epochs=40, learning_rate=2e-3, ema=0.99, patience=20)


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
    """Temperature of both models' class outputs in the loss between them."""
    attention_temperature: Positive = 1.0
    """Temperature of both models' attention in the loss between them."""
    fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    """rho: fraction of a bag at each end of the ranking loss."""
    k_max: Count = 8
    """Maximum number of patches at each end of the ranking loss."""
    warm_start: bool = False
    """Start from the weights of the teacher MIL where stage 1 has reached `warm_start_r2`."""
    warm_start_r2: Annotated[float, Field(le=1)] = 0.5
    """Smallest R2 of the student's embeddings on their HR targets, on validation patches, for a warm start."""
    inner_folds: InnerFolds = 4
    """Folds in which each slide is answered by a teacher that has not seen it; 0 is the paper's way, without them."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainConfig(Group):
    """All settings of a training run."""

    encoder: str = "mobilenetv2_100"
    """HR encoder: a name of ``lrmil encoders``, a timm name, ``hf-hub:owner/name`` or ``local-dir:folder``."""
    student_encoder: str = ""
    """LR encoder; if empty, the HR encoder with its weights."""
    pretrained: bool = True
    """Load the encoder's weights; false draws random weights with `seed`, for demonstrations and tests."""
    embedding: Literal["pooled", "cls", "mean", "cls+mean"] = "pooled"
    """Embedding of a patch from the encoder's tokens; "pooled" is the model's own."""
    teacher: Teacher = "region"
    """What the teacher MIL attends to: the mean of the HR embeddings in each LR patch ("region"), their sum by learned
    attention within it ("region_attention"), or each HR patch ("patch")."""
    mpp_hr: Positive = 0.5
    """Resolution of the HR patches, um/px."""
    mpp_lr: Positive = 2.0
    """Resolution of the LR patches, um/px; a whole multiple of `mpp_hr`."""
    patch_size: PatchSize = 0
    """Side of a patch in pixels; 0 is the HR encoder's own size, or 256 if it takes any."""
    min_tissue: Fraction = 0.25
    """Minimum tissue fraction of an LR patch."""
    min_tissue_hr: Fraction = 0.25
    """Minimum tissue fraction of an HR patch."""
    max_failed: Fraction = 0.2
    """Fraction of unreadable patches above which a slide fails."""
    use_objective_power: bool = False
    """Derive a missing um/px from the slide's magnification (10 / magnification)."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds of the cross-validation; ignored if the table has a split or fold column, or with `test_fraction`."""
    test_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of the cases drawn as the only test part, so that the shipped model itself is tested; 0 for folds."""
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the training cases used for validation."""
    seed: int = 0
    """Seed of all random numbers."""
    batch_size: Count = 64
    """Patches per encoding batch; halved automatically if the device runs out of memory."""
    threads: Annotated[int, Field(ge=0)] = 2
    """Decoding threads; 0 for as many as cores."""
    stage1: Stage1Config = Stage1Config()
    mil: MILConfig = MILConfig()
    stage2: Stage2Config = Stage2Config()
    finish: FinishConfig = FinishConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    decision: DecisionConfig = DecisionConfig()
    case_rule: CaseRuleSetting = "auto"
    """Rule that makes one answer of a patient's slides: "mean" of the log odds, or of two classes "max" or "noisy-or";
    "auto" chooses on slides that the model has not seen."""

    @property
    def finishes(self) -> bool:
        """Whether encoder and MIL of the student learn together after stage 2."""
        return self.finish.epochs > 0

    @property
    def has_own_start(self) -> bool:
        """Whether the student starts from another encoder than the teacher's."""
        return self.student_encoder not in ("", self.encoder)


def from_dict(values: dict[str, object]) -> TrainConfig:
    """Validate plain values and build the configuration.

    Parameters
    ----------
    values
        Settings by name, nested by group; missing ones keep their defaults.

    Raises
    ------
    ConfigError
        With every unknown setting and every invalid value, or if settings contradict each other.
    """
    try:
        config = TypeAdapter(TrainConfig).validate_python(values)
    except ValidationError as error:
        raise ConfigError(f"Expected valid settings. Got: {explain(error, TrainConfig)}.") from error
    require_consistent(config)
    return config


def require_consistent(config: TrainConfig) -> None:
    """Require settings that do not contradict each other.

    Raises
    ------
    ConfigError
        With the settings that do, and what to choose.
    """
    if config.stage1.weighting == "teacher_attention" and config.teacher != "patch":
        raise ConfigError(
            'Expected stage1.weighting = "uniform" with a teacher over regions: the target of stage 1 is then the mean '
            'of the HR patches in one. Got "teacher_attention"; choose "uniform", or set teacher = "patch".'
        )
    if config.stage2.warm_start and config.teacher == "region_attention":
        raise ConfigError(
            'Expected stage2.warm_start = false with teacher = "region_attention": its weights fit weighted sums of HR '
            "embeddings, and the student's embeddings match the mean. Got true; set it to false, or set teacher = "
            '"region".'
        )
    if config.stage2.warm_start and config.stage1.lambda_keep:
        raise ConfigError(
            "Expected stage1.lambda_keep = 0 with stage2.warm_start: the weights of the teacher fit embeddings that "
            f"match its own. Got {config.stage1.lambda_keep:g}; set the one to 0 or the other to false."
        )


def mil_from_dict(values: object) -> MILConfig:
    """Validate plain values and build the MIL's configuration; raise a ConfigError as `from_dict` does."""
    try:
        return TypeAdapter(MILConfig).validate_python(values)
    except ValidationError as error:
        raise ConfigError(f"Expected valid MIL settings. Got: {explain(error, MILConfig)}.") from error


def to_dict(config: TrainConfig) -> dict[str, object]:
    """Convert a configuration to plain values for TOML or JSON; `from_dict` is the inverse."""
    values = asdict(config)
    values["stage1"]["layers"] = list(config.stage1.layers)
    return values


def stated(config: TrainConfig) -> dict[str, object]:
    """Convert a configuration to what the files of a run state of it; `from_dict` is the inverse.

    An untouched `finish`, `case_rule` or `test_fraction`, and a teacher that is not kept, are not stated, so that runs
    without them are those of versions that did not have them.
    """
    values = to_dict(config)
    if config.finish == FinishConfig():
        del values["finish"]
    if config.case_rule == AUTO:
        del values["case_rule"]
    if not config.test_fraction:
        del values["test_fraction"]
    if not config.decision.with_teacher:
        kept = asdict(config.decision)
        del kept["with_teacher"], kept["regions"]
        values["decision"] = kept
    return values


def with_settings(config: TrainConfig, settings: dict[str, object]) -> TrainConfig:
    """Return a configuration with some settings changed.

    Parameters
    ----------
    config
        The configuration to start from.
    settings
        Dotted name -> value, such as ``{"stage1.weighting": "uniform"}``.

    Raises
    ------
    ConfigError
        If a name is unknown or a value is invalid.
    """
    values = to_dict(config)
    for name, value in settings.items():
        *groups, leaf = name.split(".")
        group = values
        for part in groups:
            inner = group.get(part)
            if not isinstance(inner, dict):
                near = hint(name, TrainConfig)
                raise ConfigError(f"Expected a setting of TrainConfig. Got {name!r}; there is no group {part!r}{near}.")
            group = inner
        group[leaf] = merged(group.get(leaf), value)
    return from_dict(values)
