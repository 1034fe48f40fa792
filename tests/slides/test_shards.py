"""Shares of the slides: together they are all, and none has one of another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import ConfigError
from lrmil.slides.shards import Shard


@given(st.integers(0, 40), st.integers(1, 9))
def test_shards_share_all_slides_evenly(slides: int, total: int) -> None:
    shares = [Shard(number, total).of(range(slides)) for number in range(1, total + 1)]
    assert sorted(slide for share in shares for slide in share) == list(range(slides))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_shard_is_parsed_and_names_a_file() -> None:
    assert Shard.parse("3/12") == Shard(3, 12) and str(Shard(3, 12)) == "3-of-12"


@pytest.mark.parametrize("text", ["0/8", "9/8", "8", "", "a/b", "-1/8", "1/0", "1/8/2", "1.5/8"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"1/N to N/N"):
        Shard.parse(text)
