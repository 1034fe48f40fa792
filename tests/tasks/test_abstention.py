"""What abstention brings, counted by hand and by a loop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.tasks.abstention import abstention_figures, abstention_in_words
from lrmil.tasks.answers import Answer
from lrmil.tasks.classification import Classification

TASK = Classification(("a", "b"))


def said(label: str, reasons: tuple[str, ...] = (), plausible: tuple[str, ...] | None = None) -> Answer:
    return Answer(label, {"a": 0.5, "b": 0.5}, "uncertain" if reasons else "ok", reasons, plausible)


answers = st.builds(
    said,
    st.sampled_from(["a", "b"]),
    st.sets(st.sampled_from(["risk", "no_class"])).map(lambda found: tuple(sorted(found))),
    st.none() | st.sets(st.sampled_from(["a", "b"])).map(lambda found: tuple(sorted(found))),
)


@given(st.lists(st.tuples(st.integers(0, 1), answers), max_size=20))
def test_the_counts_are_those_of_a_loop(pairs: list[tuple[int, Answer]]) -> None:
    found = abstention_figures(TASK, [target for target, _ in pairs], [answer for _, answer in pairs])
    uncertain = wrong = wrong_answered = inside = 0
    for target, answer in pairs:
        name = "ab"[target]
        uncertain += bool(answer.reasons)
        wrong += answer.label != name
        wrong_answered += answer.label != name and not answer.reasons
        inside += answer.plausible is not None and name in answer.plausible
    assert (found["slides"], found["uncertain"], found["wrong"]) == (len(pairs), uncertain, wrong)
    assert found["wrong_answered"] == wrong_answered
    assert found["in_set"] == (None if any(answer.plausible is None for _, answer in pairs) else inside)
    assert sum(found["reasons"].values()) == sum(len(answer.reasons) for _, answer in pairs)


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([(0, said("a")), (0, said("b"))], "Uncertain: none of 2 slides; 1 is answered wrong."),
        (
            [(0, said("a")), (0, said("b", ("risk",))), (1, said("a"))],
            "Uncertain: 1 of 3 slides; of the other 2, 1 is answered wrong. Without abstention, 2 of 3 would be.",
        ),
        (
            [(0, said("b", ("risk",)))],
            "Uncertain: 1 of 1 slides; there are no others. Without abstention, 1 of 1 would be.",
        ),
    ],
)
def test_in_words(pairs: list[tuple[int, Answer]], sentence: str) -> None:
    figures = abstention_figures(TASK, [target for target, _ in pairs], [answer for _, answer in pairs])
    assert abstention_in_words(figures) == sentence
