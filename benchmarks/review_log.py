"""How long a review log of many lines takes to open, and to read again after one more review was saved.

    python benchmarks/review_log.py --work WORK --out WORK/review_log.md

The lines are those of a reader who goes through a cohort: two of three are reviews, the others first labels.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from cost import own_peak
from lrmil.io.atomic import write_text
from lrmil.reviews.log import FORMAT, Review, ReviewReader, append_review, latest_reviews


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--lines", type=int, default=1_000_000)
    options = parser.parse_args()
    log = options.work / "reviews.jsonl"
    write_log(log, options.lines)
    size, plain = log.stat().st_size, seconds(lambda: sum(1 for line in log.open("rb") if json.loads(line)))
    before = own_peak()
    reader = ReviewReader(log)
    first = seconds(reader.read)
    latest = seconds(lambda: latest_reviews(reader.read().reviews))
    append_review(log, review(options.lines))
    again = seconds(reader.read)
    text = (
        f"| lines | MB | json.loads of each line, s | open and check, s | ratio | newest of each slide, s | "
        "after one more review, s | MiB |\n|---|---|---|---|---|---|---|---|\n"
        f"| {options.lines} | {size / 1e6:.0f} | {plain:.1f} | {first:.1f} | {first / plain:.1f} | {latest:.1f} | "
        f"{again:.3f} | {own_peak() - before:.0f} |\n"
    )
    print(text)
    if options.out:
        write_text(options.out, text)


def write_log(log: Path, lines: int) -> None:
    """Write a log without the locks and flushes of `append_review`, which would take hours."""
    kinds = [{"format": FORMAT, **asdict(review(number))} for number in range(15)]
    with log.open("w", encoding="utf-8") as file:
        for number in range(lines):
            slide = {"slide_id": f"slide-{number:07d}", "slide_fingerprint": f"{number:064x}"}
            file.write(json.dumps({**kinds[number % 15], **slide}) + "\n")


def review(number: int) -> Review:
    """One entry, each of another slide."""
    event, decision = ("review", "agree") if number % 3 else ("read", None)
    return Review(
        event=event,  # type: ignore[arg-type]
        slide_id=f"slide-{number:07d}",
        slide_fingerprint=f"{number:064x}",
        bundle_sha256="ab" * 32,
        output_label="yes",
        output_probabilities={"no": 0.25, "yes": 0.75},
        output_status="ok",
        decision=decision,  # type: ignore[arg-type]
        human_label="yes",
        note="looked at the margin" if number % 5 == 0 else "",
        reviewer="r1",
        seconds_viewed=12.5,
    )


def seconds(work: object) -> float:
    """Run something and give the seconds of processor time: one thread does all, whatever else the machine does."""
    start = time.process_time()
    work()  # type: ignore[operator]
    return time.process_time() - start


if __name__ == "__main__":
    main()
