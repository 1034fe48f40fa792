"""Take the screenshots for the documentation with the real program and real tissue, from training to review.

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots.py --shared ../shared --work WORK

Needs the shared data: the H&E images, from which mosaics are made, and the pretrained encoder. The pictures are written
to docs/screenshots, reduced in size and colours.
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
from PIL import Image
from qtpy.QtWidgets import QApplication, QScrollArea, QWidget

import napari
from lrmil.configs import TrainConfig, with_settings
from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.docks.train import TrainFromFolder
from napari_lrmil.docks.worklist import Worklist
from napari_lrmil.session import docks

OUT = Path(__file__).parent / "screenshots"
SLIDES = ["--train", "16", "--val", "6", "--test", "10", "--crop", "256"]
PATIENCE = 1200.0  # seconds
SIZE = (1200, 760)  # px of a picture; keeps each file below 300 kB


def main() -> None:
    """Use the program as a user would, and take a picture of each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    for kind in ("data", "cache", "log", "state"):
        setattr(platformdirs, f"user_{kind}_path", lambda *_, kind=kind, **__: options.work / "own" / kind)
    shutil.rmtree(options.work / "own", ignore_errors=True)
    cohort = make_cohort(options.shared, options.work / "cohort")
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1500, 950)
    training = open_dock(viewer, "Train from folder")
    train(viewer, training, cohort, options.work / "run", options.shared / "weights/mobilenetv2_100")
    training.use_model()
    viewer.window.remove_dock_widget(training)
    dock = open_dock(viewer, "Classify slide")
    wait(lambda: not dock.session.jobs.busy)
    classify(viewer, dock, sorted((cohort / "slides").glob("test-*1.ome.tif"))[0])
    review(viewer, dock)
    error(viewer, dock, options.work / "cut.ome.tif", cohort)
    worklist(viewer, dock, cohort, options.work)
    viewer.close()


def train(viewer: napari.Viewer, dock: TrainFromFolder, cohort: Path, run: Path, encoder: Path) -> None:
    """Train on the cohort; take a picture during stage 2 and one at the end."""
    shutil.rmtree(run, ignore_errors=True)
    dock.cohort.slides.setText(str(cohort / "slides"))
    dock.cohort.labels.setText(str(cohort / "labels.csv"))
    dock.cohort.run.setText(str(run))
    settings = {"encoder": f"local-dir:{encoder}", "patch_size": 64, "mil.fit.epochs": 40}
    settings |= {"stage1.fit.steps": 200, "stage1.fit.interval": 20}
    dock.settings.show_config(with_settings(TrainConfig(), settings))
    wait(lambda: dock.cohort.ready)
    dock.start()
    wait(lambda: sum(record.stage == "lr_student" for record in dock.status.epochs) >= 5)
    scroll(dock, dock.progress_group)
    take(viewer, "training")
    wait(lambda: dock.status.state != "running" and not dock.active)
    wait(lambda: (run / "report.html").exists())
    dock.poll()
    scroll(dock, dock.result_group)
    take(viewer, "training-finished")


def classify(viewer: napari.Viewer, dock: ClassifySlide, slide: Path) -> None:
    """Classify a test slide."""
    dock.slides.open_file(str(slide))
    wait(lambda: dock.slides.layer is not None)
    dock.start()
    wait(lambda: not dock.session.jobs.busy and not dock.gallery.reading)
    viewer.reset_view()
    scroll(dock, dock.run)
    take(viewer, "classify")


def review(viewer: napari.Viewer, dock: ClassifySlide) -> None:
    """Go to the third patch and save a review."""
    for _ in range(3):
        dock.gallery.step(1)
    dock.review.agree.setChecked(True)
    dock.review.note.setPlainText("Two separate foci; margins not judged.")
    scroll(dock, dock.review)
    take(viewer, "review")
    dock.review.save()


def error(viewer: napari.Viewer, dock: ClassifySlide, path: Path, cohort: Path) -> None:
    """Classify a slide whose file was truncated while it was open."""
    whole = sorted((cohort / "slides").glob("test-*0.ome.tif"))[0].read_bytes()
    path.write_bytes(whole)
    with contextlib.chdir(path.parent):  # so that the picture shows a name without its folder
        dock.slides.open_file(path.name)
        path.write_bytes(whole[: len(whole) // 6])
        dock.start()
        wait(lambda: not dock.session.jobs.busy)
    scroll(dock, dock.message)
    take(viewer, "error")
    viewer.layers.clear()


def worklist(viewer: napari.Viewer, dock: ClassifySlide, cohort: Path, work: Path) -> None:
    """Classify a folder with one broken file, and open the first slide to review."""
    folder = work / "incoming"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for slide in sorted((cohort / "slides").glob("test-*.ome.tif")):
        shutil.copy(slide, folder)
    (folder / "cut.ome.tif").write_bytes((folder / slide.name).read_bytes()[:20_000])
    table: Worklist = open_dock(viewer, "Worklist")
    table.open_folder(folder)
    wait(lambda: table.table.rowCount() == 11)
    table.classify_all()
    wait(lambda: not dock.session.jobs.busy)
    table.next_unreviewed()
    wait(lambda: not dock.session.jobs.busy and not dock.gallery.reading)
    viewer.reset_view()
    scroll(dock, dock.result)
    take(viewer, "worklist")


def make_cohort(shared: Path, cohort: Path) -> Path:
    """Make the cohort unless it exists, and return its folder."""
    if not (cohort / "labels.csv").exists():
        script, manifest = shared / "tools/make_cohort.py", shared / "data/glas/manifest.csv"
        command = [sys.executable, script, "--manifest", manifest, "--out", cohort, *SLIDES]
        subprocess.run(list(map(str, command)), check=True)
    return cohort


def open_dock(viewer: napari.Viewer, name: str) -> QWidget:
    """Open a dock by its name in the manifest, and return its widget."""
    dock = docks.open_dock(viewer, name)
    pause(1.0)
    return dock.inner_widget()  # type: ignore[no-any-return]


def scroll(dock: QWidget, part: QWidget) -> None:
    """Scroll a part of a dock to the top of the visible area."""
    area = dock.findChild(QScrollArea)
    pause(0.5)
    corner = part.mapTo(area.widget(), part.rect().topLeft())
    area.verticalScrollBar().setValue(corner.y() - 24)


def wait(done: Callable[[], bool]) -> None:
    """Let the program run until `done` returns True."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"The program did not finish the step within {PATIENCE:.0f} s.")
        pause(0.05)


def pause(seconds: float) -> None:
    """Let the program run for some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def take(viewer: napari.Viewer, name: str) -> None:
    """Write a picture of the whole window to `OUT`."""
    pause(2.0)
    pixels = np.asarray(viewer.screenshot(canvas_only=False, flash=False))[..., :3]
    picture = Image.fromarray(pixels).resize(SIZE, Image.Resampling.LANCZOS).quantize(160, dither=Image.Dither.NONE)
    OUT.mkdir(exist_ok=True)
    picture.save(OUT / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
