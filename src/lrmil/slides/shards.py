"""Share slides among independent calls, such as the tasks of a batch system."""

from collections.abc import Sequence
from typing import NamedTuple, Self, TypeVar

from lrmil.errors import ConfigError

T = TypeVar("T")


class Shard(NamedTuple):
    """One of several equal shares."""

    number: int
    """From 1."""
    total: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a text such as "1/8".

        Raises
        ------
        ConfigError
            If it is not such a text.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ConfigError(f"Expected a shard from 1/N to N/N, such as 1/8. Got {text!r}.")
        return cls(int(number), int(count))

    def __str__(self) -> str:
        """Return a name for files, such as "1-of-8"."""
        return f"{self.number}-of-{self.total}"

    def of(self, slides: Sequence[T]) -> list[T]:
        """Return every `total`-th slide, from the `number`-th on."""
        return list(slides[self.number - 1 :: self.total])
