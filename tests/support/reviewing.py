"""Histories of reviews as hypothesis draws them: few readers, slides and labels, so that they meet often."""

from pathlib import Path

from hypothesis import strategies as st

from lrmil.reviews.log import Review, append_review
from support.reviews import entry

LABELS = ("no", "yes")


@st.composite
def histories(draw: st.DrawFn) -> Review:
    """An entry of one of three readers, on one of three slides and two models, in one of five minutes."""
    event = draw(st.sampled_from(["read", "review", "review", "review"]))
    output = draw(st.sampled_from(LABELS))
    label = draw(st.sampled_from(LABELS if event == "read" else (*LABELS, "")))
    decision = {"": "uncertain", output: "agree"}.get(label, "override")
    slide = draw(st.sampled_from("abc"))
    return entry(
        event=event,
        decision=None if event == "read" else decision,
        human_label=label,
        output_label=output,
        output_probabilities={"no": 0.5, "yes": 0.5},
        slide_id=slide,
        slide_fingerprint=draw(st.sampled_from([f"f-{slide}", f"f-{slide}", ""])),
        bundle_sha256=draw(st.sampled_from(["b1", "b2"])),
        reviewer=draw(st.sampled_from(["", "r1", "r2"])),
        human_first=draw(st.booleans()),
        seconds_viewed=draw(st.none() | st.integers(0, 90).map(float)) if event == "review" else None,
        time=f"2026-01-01T00:0{draw(st.integers(0, 4))}:00+00:00",
    )


def logs_of(*sizes: int) -> st.SearchStrategy[list[list[Review]]]:
    """As many logs as sizes, each with at most so many entries."""
    return st.tuples(*(st.lists(histories(), max_size=size) for size in sizes)).map(list)


def write_logs(folder: Path, logs: list[list[Review]]) -> list[Path]:
    """Write each log to a file of its own, an empty one too."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"log-{number}.jsonl" for number in range(len(logs))]
    for path, reviews in zip(paths, logs, strict=True):
        path.touch()
        for review in reviews:
            append_review(path, review)
    return paths
