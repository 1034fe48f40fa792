"""Find the slide that each review is about: by the fingerprint of its content, else by its name."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from lrmil.cohorts.names import SlideNames
from lrmil.reviews.several import Said
from lrmil.slides.each import IN_PROCESS, Executor, each
from lrmil.slides.identity import identity_of
from lrmil.slides.source import SlideSource
from lrmil.steps import Step

JOB = ("fingerprints of the slides",)


class SlideFile(NamedTuple):
    """A slide file and what it is recognised by."""

    slide_id: str
    fingerprint: str
    """Hash of its content; "" if it cannot be read."""
    problem: str = ""
    """Why it cannot be read."""


class Matched(NamedTuple):
    """Reviews by slide, and those without one."""

    by_slide: Mapping[str, tuple[Said, ...]]
    """Slide id -> its reviews."""
    by_name: tuple[str, ...]
    """Ids of the slides, sorted, that have only their name in common with the reviews, not their content."""
    missing: tuple[Said, ...]
    """Reviews of slides that are not there."""
    unclear: tuple[Said, ...]
    """Reviews that fit several slide files."""


def slide_file_steps(
    sources: Sequence[SlideSource], executor: Executor = IN_PROCESS
) -> Iterator[Step[tuple[SlideFile, ...]]]:
    """Read the fingerprint of each slide.

    Parameters
    ----------
    sources
        The slides.
    executor
        Where the slides are read; see `lrmil.slides.each`.

    Yields
    ------
    Step
        One per slide; the last carries all, in order.
    """
    found: list[SlideFile] = []
    with closing(each(_fingerprint, sources, executor, job=JOB, names_outputs=False)) as steps:
        for step in steps:
            if (outcome := step.result) is not None:
                why = outcome.failure.message if outcome.failure else ""
                found.append(SlideFile(outcome.source.slide_id, outcome.value or "", why))
                yield Step(JOB, len(found), len(sources), "slides")
    yield Step(JOB, len(found), len(sources), "slides", result=tuple(found))


def match_reviews(reviews: Iterable[Said], slides: Sequence[SlideFile]) -> Matched:
    """Find the slide of each review.

    Where a slide of the same content is there, the review is about it, whatever its name; of several copies, about the
    one of the same name. Other reviews are about the slide of their name, unless that has reviews of its own content.

    Parameters
    ----------
    reviews
        The reviews.
    slides
        The slides.
    """
    of_content: dict[str, set[str]] = defaultdict(set)
    for slide in slides:
        of_content[slide.fingerprint].add(slide.slide_id)
    files = Counter(slide.slide_id for slide in slides)
    names = SlideNames(files)
    known, named = defaultdict[str, list[Said]](list), defaultdict[str, list[Said]](list)
    missing, unclear = list[Said](), list[Said]()
    for said in reviews:
        ids = of_content.get(said.review.slide_fingerprint, set()) if said.review.slide_fingerprint else set()
        own = said.review.slide_id
        slide_id = own if own in ids else min(ids) if len(ids) == 1 else None
        by_name = names.find(own) if not ids else None
        if (len(ids) > 1 and slide_id is None) or files[slide_id or by_name or ""] > 1:
            unclear.append(said)
        elif slide_id is not None:
            known[slide_id].append(said)
        elif by_name is not None:
            named[by_name].append(said)
        else:
            missing.append(said)
    for slide_id in named.keys() & known.keys():
        missing += named.pop(slide_id)
    every = {slide_id: tuple(several) for slide_id, several in sorted((known | named).items())}
    return Matched(every, tuple(sorted(named)), tuple(missing), tuple(unclear))


def _fingerprint(source: SlideSource) -> str:
    return identity_of(source.path).fingerprint
