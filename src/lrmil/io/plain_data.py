"""Validate plain data, such as parsed JSON, as typed values; name the fields that do not fit in one short line.

The types below are strict: neither a boolean nor a text counts as a number, nor does NaN or infinity.
"""

from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field, StrictFloat, StrictInt, StrictStr, TypeAdapter, ValidationError

from lrmil.errors import FormatError, printable

T = TypeVar("T")
MAX_NAMED = 3  # fields listed in one message
MAX_SHOWN = 80  # characters of a value

CLOSED = ConfigDict(extra="forbid")  # for `pydantic.with_config`: unknown fields are refused
Text = StrictStr
Whole = StrictInt
Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]  # JSON integers are accepted too


def parse_plain(adapter: TypeAdapter[T], values: object) -> T:
    """Validate plain data as the type of `adapter`, and return the typed value.

    Parameters
    ----------
    adapter
        The type, such as a dataclass with fields of the types above.
    values
        The content of a file.

    Raises
    ------
    FormatError
        If a field does not fit; the message names the first ones.
    """
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        raise FormatError(explain(error)) from error


def explain(error: ValidationError) -> str:
    """Return the fields that do not fit, and why, in one short line."""
    problems = error.errors(include_url=False, include_context=False)
    said = [f"{_place(one['loc'])}: {_reason(one['msg'], one['input'])}" for one in problems]
    more = f"; {len(said) - MAX_NAMED} more" if len(said) > MAX_NAMED else ""
    return "; ".join(said[:MAX_NAMED]) + more


def _place(names: tuple[int | str, ...]) -> str:
    return printable(".".join(map(str, names))[:MAX_SHOWN])


def _reason(message: str, value: object) -> str:
    if isinstance(value, str | int | float | None):
        return f"{message}, not {_shown(value)}"
    return f"{message}, not a {type(value).__name__}"


def _shown(value: str | int | float | None) -> str:
    if isinstance(value, int) and value.bit_length() > MAX_SHOWN:  # Python cannot print a number of 5,000 digits
        return "a very large number"
    return repr(value)[:MAX_SHOWN]
