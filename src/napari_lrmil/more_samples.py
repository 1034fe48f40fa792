"""File > Open Sample: a worklist of twelve slides of which one is broken, and a finished training run."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrmil.demo.slide import STRENGTH, demo_slide
from lrmil.demo.synthetic import LABELS, is_synthetic, make_slide, write_pyramid
from lrmil.io.atomic import replacing
from lrmil.slides.opening import open_slide
from lrmil.steps import Step, last, relay
from napari_lrmil.layers.build import LayerData, slide_layer
from napari_lrmil.sample import made_by_a_process
from napari_lrmil.session.docks import open_dock
from napari_lrmil.session.viewers import session_of
from napari_lrmil.state import folders

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle

INTACT, SIDE, SEED = 11, 1024, 77  # slides of the worklist, beside which lies a broken one; px
EXPECTED = 40  # seconds of a training on idle cores
WORKLIST_SAYS = "Making twelve synthetic slides, one of them broken, and a model: about 40 s on idle cores, then kept."
RUN_SAYS = "Making twenty synthetic slides and training on them: about 40 s on idle cores, then kept."


def open_worklist() -> list[LayerData]:
    """Return the first slide; make eleven more and the demonstration model, then show all in "Worklist"."""

    def opened(viewer: Any, made: "tuple[Path, Path, Bundle]") -> None:
        slides, model, bundle = made
        session_of(viewer).take_model(model, bundle)
        open_dock(viewer, "Worklist").inner_widget().open_folder(slides)

    first = _intact_slide(folders.cache_folder(), 0)
    _make("make the sample worklist", WORKLIST_SAYS, worklist_steps, opened)
    return [slide_layer(open_slide(first))]


def open_run() -> list[LayerData]:
    """Return a slide to use the model on; train on others, then show the finished run in "Train from folder"."""

    def opened(viewer: Any, run: Path) -> None:
        open_dock(viewer, "Train from folder").inner_widget().cohort.choose_run(run)

    _make("make the sample run", RUN_SAYS, run_steps, opened)
    return [slide_layer(open_slide(demo_slide(folders.cache_folder())))]


def _make(
    name: str, says: str, steps: Callable[[Path], Iterator[Step[Any]]], opened: Callable[[Any, Any], None]
) -> None:
    """Run the steps as a job of the viewer, then open what they made in it."""
    from napari.utils.notifications import show_info

    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        return
    show_info(says)
    jobs = session_of(viewer).jobs
    jobs.when_idle(
        lambda: jobs.run(lambda: steps(folders.cache_folder()), name=name, on_result=lambda made: opened(viewer, made))
    )


def worklist_steps(folder: Path) -> "Iterator[Step[tuple[Path, Path, Bundle]]]":
    """Make the slides, then the model, as far as they are not there; the last Step has both.

    Parameters
    ----------
    folder
        That keeps them.
    """
    for number in range(INTACT):
        path = _intact_slide(folder, number)
        yield Step(("make the slides",), number + 1, INTACT + 1, "slides")
    slides = path.parent
    broken = slides / f"sample-{INTACT + 1}-broken.ome.tif"
    if not broken.exists():
        whole = path.read_bytes()
        with replacing(broken) as temporary:
            temporary.write_bytes(whole[: len(whole) // 3])
    yield from made_by_a_process(["demo", "--small", "--out", str(folder)], folder / "demo.log", EXPECTED)
    from lrmil.demo.model import demo_model_steps
    from lrmil.models.bundle import load_bundle

    model = last(demo_model_steps(folder))
    yield Step(("load model",), 1, 1, result=(slides, model, load_bundle(model)))


def _intact_slide(folder: Path, number: int) -> Path:
    """Draw a slide of the worklist unless it is there."""
    path = folder / "sample-worklist" / f"sample-{number + 1:02d}.ome.tif"
    if not is_synthetic(path):
        slide = make_slide(LABELS[number % 2], seed=(SEED, number), size=SIDE, strength=STRENGTH)
        write_pyramid(path, slide.pixels)
    return path


def run_steps(folder: Path) -> Iterator[Step[Path]]:
    """Make the cohort, then train in a process, as far as that is not done; the last Step has the run.

    Parameters
    ----------
    folder
        That keeps them.
    """
    from lrmil.demo.model import COHORT
    from lrmil.demo.synthetic import make_cohort_steps

    cohort, run = folder / "sample-cohort", folder / "sample-run"
    if not (cohort / "labels.csv").exists():
        yield from relay(make_cohort_steps(cohort, **COHORT))  # type: ignore[arg-type]
    if not (run / "report.html").exists():
        yield from made_by_a_process(training_arguments(cohort, run), folder / "sample-run.log", EXPECTED)
    yield Step(("train",), 1, 1, result=run)


def training_arguments(cohort: Path, run: Path) -> list[str]:
    """Return the command line of the sample's training."""
    from lrmil.demo.model import SETTINGS

    settings = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in SETTINGS.items()]
    options = [part for setting in settings for part in ("--set", setting)]
    return ["train", str(cohort / "slides"), str(cohort / "labels.csv"), "--out", str(run), *options]
