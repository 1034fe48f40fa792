"""Plain data, such as JSON gives, become typed values; what does not fit is named in one short line.

A type for this is strict itself, by the names below: a truth is no number, nor is a text, NaN or infinity.
"""

from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field, StrictFloat, StrictInt, StrictStr, TypeAdapter, ValidationError

from lrmil.errors import FormatError, printable

T = TypeVar("T")
MAX_NAMED = 3  # misfits in a message
MAX_SHOWN = 80  # characters of a value

CLOSED = ConfigDict(extra="forbid")  # for `pydantic.with_config`: a field that the type does not have is refused
Text = StrictStr
Whole = StrictInt
Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]  # of JSON also a whole one


def parse_plain(adapter: TypeAdapter[T], values: object) -> T:
    """Return plain data as the type of `adapter`.

    Parameters
    ----------
    adapter
        The type, such as a dataclass whose fields are of the types above.
    values
        What a file states.

    Raises
    ------
    FormatError
        With the first fields that do not fit.
    """
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        raise FormatError(explain(error)) from error


def explain(error: ValidationError) -> str:
    """Return which fields do not fit, and why, in one line that is never long."""
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
    if isinstance(value, int) and value.bit_length() > MAX_SHOWN:  # Python writes no number of 5,000 digits
        return "a number out of all bounds"
    return repr(value)[:MAX_SHOWN]
