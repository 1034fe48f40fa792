"""A group of settings: frozen, validated, and completed with the defaults of the group that contains it."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

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
        raise ValueError("pass 0 for the teacher's outputs on its own training slides, or 2 folds or more")
    return count


Layers = Annotated[tuple[int, ...], AfterValidator(_require_layers)]
PatchSize = Annotated[int, AfterValidator(_require_patch_size)]
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
