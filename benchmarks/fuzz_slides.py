"""Damage slide files by seed and see what inspect and predict make of each: refused, read all the same, or worse.

    python benchmarks/fuzz_slides.py --slides ../shared/data/slides --each 500 --out WORK/fuzz

Each case runs in a child forked from this process, which has imported everything: a case costs its own work alone. A
child may take 2 GiB of memory above the start and 30 s. Each damaged file is also compared with the checksum of the
intact one, as `--checksums` does. Prints a table, writes fuzz.json (every case by slide, kind and
seed) and fuzz.md; the exit code is 1 when a case ended in a class that must not occur. `--case KIND:SEED` with one
slide and --keep FILE writes the damaged file of a case, to look into it.
"""

import argparse
import hashlib
import json
import logging
import os
import re
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from lrmil.configs import MILConfig
from lrmil.errors import LrmilError, ResolutionError, SlideError
from lrmil.io.atomic import write_json, write_text
from lrmil.models.bundle import Bundle
from lrmil.models.encoders.loading import load_encoder
from lrmil.models.heads.choice import make_mil
from lrmil.patches.inspection import inspect_slide
from lrmil.prediction.inference import predict
from lrmil.raster import Raster
from lrmil.slides.checksums import NOT_COMPARED, Checksum, verify
from lrmil.slides.discovery import find_slides
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource
from lrmil.tasks.classification import Classification
from slide_mutations import KINDS, layout_of, mutate

MEMORY, SECONDS, PATCH, MPP = 2 << 30, 30.0, 32, 2.0
GOOD = (
    "refused with a sentence",
    "same prediction",
    "other prediction, lost patches or notes said",
    "other prediction, the file states another resolution",
    "other prediction, says that it was not compared with a checksum",
)
BAD = (
    "passed the checksum",
    "silently other prediction",
    "crash",
    "hang",
    "unexpected exception",
    "out of memory",
    "untidy message",
    "said on stderr",
)


@dataclass(frozen=True)
class Case:
    """How one damaged file ended."""

    slide: str
    kind: str
    seed: int
    outcome: str
    detail: str
    seconds: float


@dataclass(frozen=True)
class Answer:
    """What a child says of one file."""

    refused: str = ""
    unexpected: str = ""
    memory: bool = False
    mpp: float = 0.0
    failed: int = 0
    notes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    checksum: str = ""
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """How a slide is read: um/px to give where it has none, and whether the whole of it counts as tissue."""

    mpp: float | None = None
    whole: bool = False


def main() -> int:
    """Run the cases and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=Path, nargs="+", required=True, help="files or folders")
    parser.add_argument("--each", type=int, default=500, help="damaged copies of each slide")
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the next ones count up")
    parser.add_argument("--out", type=Path, help="folder of fuzz.json and fuzz.md")
    parser.add_argument("--case", help="KIND:SEED, this one alone")
    parser.add_argument("--keep", type=Path, help="where to write the damaged file of --case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    logging.getLogger("lrmil").addHandler(logging.NullHandler())  # what is logged is no word on a slide's user's screen
    kind, _, seed = (options.case or "").rpartition(":")
    chosen = [(kind, int(seed))] if options.case else _kinds(options.each, options.seed)
    model, cases = _model(), list[Case]()
    predict_warm(model)
    for slide in find_slides(options.slides):
        cases += fuzz(slide, model, chosen, options.keep)
        print(f"{slide.name}: {dict(Counter(case.outcome for case in cases if case.slide == slide.name))}", flush=True)
        if options.out:
            write_json(options.out / "fuzz.json", [asdict(case) for case in cases])
    text = table(cases)
    print(text)
    for case in cases:
        if case.outcome in BAD or options.case:
            print(f"{case.slide} --case '{case.kind}:{case.seed}': {case.outcome}: {case.detail}")
    if options.out:
        write_text(options.out / "fuzz.md", text)
    return int(any(case.outcome in BAD for case in cases))


def fuzz(slide: Path, model: Bundle, chosen: Sequence[tuple[str, int]], keep: Path | None = None) -> list[Case]:
    """Run the cases of one slide."""
    layout, data, cases = layout_of(slide), slide.read_bytes(), []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / slide.name  # alone in its folder: OpenSlide looks at the files beside a DICOM file
        copy.write_bytes(data)
        way, intact = _baseline(copy, model)
        stated = Checksum(copy, hashlib.sha256(data).hexdigest(), "the list")
        for kind, seed in chosen:
            damaged = mutate(data, layout, kind, f"{slide.name} {kind} {seed}")
            copy.write_bytes(damaged)
            if keep:
                keep.write_bytes(damaged)
            start = time.perf_counter()
            outcome, detail = in_child(lambda: answer(copy, model, way), lambda found: judge(found, intact))
            if damaged != data and _passes(stated):
                outcome = "passed the checksum"
            cases.append(Case(slide.name, kind, seed, outcome, detail, round(time.perf_counter() - start, 3)))
    return cases


def answer(slide: Path, model: Bundle, way: Way) -> Answer:
    """Inspect a slide and predict it."""
    try:
        facts = inspect_slide(SlideSource(slide.stem, slide, way.mpp), lr=MPP, size=PATCH)
        with open_slide(slide, mpp=way.mpp) as opened:
            tissue = _everything(opened.dimensions) if way.whole else None
            found = predict(opened, model, "cpu", batch_size=64, threads=1, tissue=tissue)
            notes = tuple(getattr(found, "notes", ()) or opened.notes)
        return Answer(
            mpp=found.mpp,
            failed=found.failed_patches,
            notes=notes,
            probabilities=tuple(found.probabilities.values()),
            checksum=found.checksum,
            facts=facts,
        )
    except LrmilError as error:
        return Answer(refused=f"{type(error).__name__}: {error}")
    except MemoryError as error:
        return Answer(memory=True, unexpected=repr(error))
    except BaseException:  # noqa: BLE001 - finding these is the point
        return Answer(unexpected=traceback.format_exc())


def judge(found: Answer, intact: Answer) -> tuple[str, str]:
    """Name the class of an outcome, and say what is worth keeping of it."""
    if found.memory:
        return "out of memory", found.unexpected
    if found.unexpected:
        return "unexpected exception", found.unexpected
    if found.refused:
        untidy = len(found.refused) > 1000 or re.search(r"[\x00-\x1f\x7f]", found.refused)
        return ("untidy message" if untidy else GOOD[0]), found.refused
    if found.probabilities == intact.probabilities:
        return GOOD[1], ""
    if found.failed > intact.failed or set(found.notes) - set(intact.notes):
        return GOOD[2], f"{found.failed} lost; {' '.join(found.notes)}"
    if found.mpp != intact.mpp:
        return GOOD[3], f"{found.mpp} um/px for {intact.mpp}"
    said = found.checksum == NOT_COMPARED
    return (GOOD[4] if said else "silently other prediction"), _difference(found, intact)


def in_child(work: Callable[[], Answer], verdict: Callable[[Answer], tuple[str, str]]) -> tuple[str, str]:
    """Do `work` in a forked child with a limit of memory and time."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as said:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _live(work, writer, said.fileno())
        os.close(writer)
        raw = _all_of(reader, SECONDS)
        if raw is None:
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        said.seek(0)
        words = said.read().decode(errors="replace").strip()
    if raw is None:
        return "hang", f"more than {SECONDS:g} s"
    if os.WIFSIGNALED(status) or not raw:
        return "crash", f"signal {status & 127}, exit code {status >> 8}: {words[-300:]}"
    document = json.loads(raw)
    outcome, detail = verdict(
        Answer(**{**document, "notes": tuple(document["notes"]), "probabilities": tuple(document["probabilities"])})
    )
    return ("said on stderr", words[-300:]) if words and outcome in GOOD else (outcome, detail)


def table(cases: Sequence[Case]) -> str:
    """Count the outcomes by slide and by kind of damage, as markdown."""
    outcomes = [name for name in (*GOOD, *BAD) if name in GOOD or any(case.outcome == name for case in cases)]
    lines = [f"{len(cases)} cases; the slowest took {max(case.seconds for case in cases):.1f} s.", ""]
    for title, key in (("slide", lambda case: case.slide), ("damage", lambda case: case.kind)):
        lines += ["| " + " | ".join([title, *outcomes]) + " |", "|---|" + "---:|" * len(outcomes)]
        for name in dict.fromkeys(map(key, cases)):
            counts = Counter(case.outcome for case in cases if key(case) == name)
            lines.append(f"| {name} | " + " | ".join(str(counts[outcome]) for outcome in outcomes) + " |")
        total = Counter(case.outcome for case in cases)
        lines += ["| all | " + " | ".join(str(total[outcome]) for outcome in outcomes) + " |", ""]
    return "\n".join(lines)


def predict_warm(model: Bundle) -> None:
    """Import and start all that the children need."""
    pixels = torch.zeros(2, 3, PATCH, PATCH, dtype=torch.uint8)
    with torch.inference_mode():
        model.mil(model.encoder(pixels).embedding)


def _baseline(slide: Path, model: Bundle) -> tuple[Way, Answer]:
    """How an intact slide can be read, and the answer of it."""
    way = Way()
    try:
        with open_slide(slide) as opened:
            way = Way(None if opened.has_mpp else 1.0, whole=False)
            if opened.has_mpp and opened.mpp > MPP:
                way = Way(1.0)
    except (LrmilError, ResolutionError):
        return way, answer(slide, model, way)
    intact = answer(slide, model, way)
    if intact.refused:
        way = Way(way.mpp, whole=True)
        intact = answer(slide, model, way)
    if intact.unexpected:
        raise ValueError(f"Expected an intact slide. Got {slide.name}: {intact.unexpected}")
    return way, intact


def _passes(stated: Checksum) -> bool:
    try:
        verify([stated])
    except SlideError:
        return False
    return True


def _kinds(each: int, seed: int) -> list[tuple[str, int]]:
    names = list(KINDS)
    return [(names[number % len(names)], seed + number // len(names)) for number in range(each)]


def _model() -> Bundle:
    encoder = load_encoder("test_efficientnet", size=PATCH, pretrained=False)
    torch.manual_seed(0)
    config = MILConfig(hidden_dim=8)
    mil = make_mil(encoder.dim, 2, config).eval()
    return Bundle(Classification(("no", "yes")), MPP, PATCH, 0.25, 0.2, encoder, mil, config)


def _everything(dimensions: tuple[int, int]) -> Raster:
    width, height = dimensions
    return Raster.on_lattice(np.ones((1, 1), bool), cell_level0=(float(height), float(width)), origin_yx=(0.0, 0.0))


def _difference(found: Answer, intact: Answer) -> str:
    facts = {name: value for name, value in found.facts.items() if value != intact.facts.get(name)}
    return f"{found.probabilities[0]:.4f} for {intact.probabilities[0]:.4f}; {facts}"


def _live(work: Callable[[], Answer], writer: int, said: int) -> None:
    """Be the child: never returns."""
    os.dup2(said, 1)
    os.dup2(said, 2)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, in_use + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        data = json.dumps(asdict(work())).encode()
        while data:
            data = data[os.write(writer, data) :]
    finally:
        os._exit(0)


def _all_of(reader: int, seconds: float) -> bytes | None:
    """Read a pipe to its end; None when that takes longer."""
    end, parts = time.monotonic() + seconds, []
    with open(reader, "rb", buffering=0) as stream:
        while (left := end - time.monotonic()) > 0 and select.select([stream], [], [], left)[0]:
            part = stream.read(1 << 16)
            if not part:
                return b"".join(parts)
            parts.append(part)
    return None


if __name__ == "__main__":
    sys.exit(main())
