"""TRIPOD+AI has 27 items, some of them in parts."""

from lrmil.reports.tripod_ai import TRIPOD_AI

PARTS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab", 27: "abc"}


def test_every_item_is_there_once_and_in_order() -> None:
    expected = [f"{number}{part}" for number in range(1, 28) for part in PARTS.get(number, [""])]
    assert [item.number for items in TRIPOD_AI.sections.values() for item in items] == expected
    assert len(expected) == 52


def test_topics_differ() -> None:
    topics = [item.topic for items in TRIPOD_AI.sections.values() for item in items]
    assert len({*topics}) == len(topics) and "BMJ" in TRIPOD_AI.source
