"""A folder of slides as a table: classified in a thread, sorted, filtered, reviewed one after the other, and kept."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from lrmil.models.bundle import Bundle, load_bundle
from lrmil.reviews.log import Review, append_review
from lrmil.slides.discovery import find_slides
from lrmil.slides.failures import duplicate_names
from lrmil.steps import Step, last
from lrmil.tasks.case_rule import pool_probabilities
from napari_lrmil.docks.worklist import STOPPING, Worklist
from napari_lrmil.jobs.classify_list import classify_list
from napari_lrmil.layers.build import KEY, SlideFile
from napari_lrmil.session.opened_slide import edited_tissue, find_tissue_layer
from napari_lrmil.session.session import Session
from napari_lrmil.session.viewers import session_of
from napari_lrmil.session.worklist_review import Judge
from napari_lrmil.session.worklist_viewer import current_slide, opened_slides
from napari_lrmil.state import folders
from napari_lrmil.state.answers import case_folder
from napari_lrmil.state.worklist import JOB, entries_of, scan
from napari_lrmil.widgets.worklist.going_on import NONE_WAITS
from napari_lrmil.widgets.worklist.line import (
    ANSWER,
    CLASS,
    COLUMNS,
    MESSAGE,
    PATIENT,
    PROBABILITY,
    REVIEWED,
    SLIDE,
    STATUS,
)
from support.runs import stamp_of

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

Finish = Callable[[Session], None]
PATIENCE = 60_000
GOOD = ["demo-000", "demo-001", "demo-002", "demo-010"]


@pytest.fixture(scope="module")
def template(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four slides, one of them in a folder below, and a broken file."""
    slides = tmp_path_factory.mktemp("list") / "template"
    (slides / "below").mkdir(parents=True)
    for name in GOOD:
        shutil.copy(cohort / "slides" / f"{name}.ome.tif", slides / ("below" if name == "demo-001" else ""))
    (slides / "demo-005.svs").write_bytes((cohort / "slides" / "demo-005.ome.tif").read_bytes()[:5000])
    return slides


@pytest.fixture(scope="module")
def bundle(model_folder: Path) -> Bundle:
    return load_bundle(model_folder)


@pytest.fixture(scope="module")
def finished(template: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the template, classified once for all tests."""
    results = tmp_path_factory.mktemp("results")
    entries = entries_of(find_slides(template))
    last(classify_list(entries, entries, bundle, template, results, device="cpu"))
    return results


@pytest.fixture
def make(qtbot: "QtBot", bundle: Bundle, model_folder: Path) -> Callable[..., Worklist]:
    """Make the dock of a viewer, with a folder and the model loaded."""

    def make(viewer: ViewerModel, folder: Path | None, *, model: bool = True) -> Worklist:
        session = session_of(viewer)
        if model:
            session.bundle, session.model_folder = bundle, model_folder
        worklist = Worklist(viewer)
        qtbot.addWidget(worklist)
        worklist.tools.go_on.setChecked(False)
        if folder is not None:
            worklist.open_folder(folder)
            qtbot.waitUntil(lambda: bool(worklist.table.lines), timeout=PATIENCE)
        return worklist

    return make


@pytest.fixture
def worklist(make: Callable[..., Worklist], viewer: ViewerModel, session: Session, template: Path) -> Worklist:
    """The template, not classified; its files are for reading only."""
    return make(viewer, template)


@pytest.fixture
def classified(
    make: Callable[..., Worklist], viewer: ViewerModel, session: Session, template: Path, finished: Path, qtbot: "QtBot"
) -> Worklist:
    """The template, classified before; its files are for reading only."""
    shutil.copytree(finished, session.preferences.results)
    worklist = make(viewer, template)
    qtbot.waitUntil(lambda: column(worklist, STATUS).count("ok") == len(GOOD), timeout=PATIENCE)
    return worklist


@pytest.fixture
def own(
    make: Callable[..., Worklist], viewer: ViewerModel, session: Session, template: Path, tmp_path: Path, finish: Finish
) -> Worklist:
    """A classified copy of the template, whose files a test may change."""
    worklist = make(viewer, Path(shutil.copytree(template, tmp_path / "slides")))
    worklist.classify_all()
    finish(session)
    return worklist


def shown(worklist: Worklist) -> list[list[str]]:
    """What the table shows, row by row."""
    order = worklist.order
    return [[str(order.index(row, column).data()) for column in range(len(COLUMNS))] for row in range(order.rowCount())]


def column(worklist: Worklist, number: int) -> list[str]:
    return [row[number] for row in shown(worklist)]


def place(worklist: Worklist, slide_id: str) -> int:
    return next(i for i, line in enumerate(worklist.table.lines) if line.entry.slide_id == slide_id)


def open_slide(worklist: Worklist, slide_id: str, qtbot: "QtBot") -> None:
    worklist.open_slide(worklist.table.lines[place(worklist, slide_id)].entry)
    wait_for(worklist, slide_id, qtbot)


def wait_for(worklist: Worklist, slide_id: str, qtbot: "QtBot") -> None:
    """Wait until a slide of the list is the one that the viewer is on."""
    qtbot.waitUntil(lambda: [one.name for one in opened_slides(worklist.session)] == [slide_id], timeout=PATIENCE)


def review(session: Session, *, decision: str = "agree", event: str = "review") -> None:
    """Append a record on the slide that is shown."""
    prediction = session.shown.prediction  # type: ignore[union-attr]
    labels = {"agree": prediction.label, "override": other(prediction.label), "uncertain": ""}
    entry = Review(
        event=event,  # type: ignore[arg-type]
        slide_id=prediction.slide_id,
        slide_fingerprint=prediction.slide_fingerprint,
        bundle_sha256=prediction.bundle_sha256,
        output_label=prediction.label,
        output_probabilities=prediction.probabilities,
        output_status=prediction.status,
        decision=decision if event == "review" else None,  # type: ignore[arg-type]
        human_label=labels[decision] if event == "review" else "yes",
        reviewer=session.reviewer,
        human_first=event == "read",
    )
    append_review(session.review_log, entry)
    if event == "review":
        session.reviewed.emit()


def other(label: str) -> str:
    return "no" if label == "yes" else "yes"


def test_a_folder_becomes_a_table_of_new_slides(worklist: Worklist) -> None:
    assert column(worklist, SLIDE) == ["demo-000", "demo-001", "demo-002", "demo-005", "demo-010"]
    assert set(column(worklist, STATUS)) == {"new"}
    assert worklist.status.text() == "5 slides: 5 new; 0 reviewed"
    assert (worklist.tools.folder_name.text(), worklist.tools.model_name.text()[-6:]) == ("template", "/model")
    assert worklist.tools.run_all.isEnabled() and not worklist.tools.next.isEnabled()


def test_all_are_classified_and_a_broken_file_is_a_row_that_says_why(own: Worklist) -> None:
    classified = own
    rows = {row[SLIDE]: dict(zip(COLUMNS, row, strict=True)) for row in shown(classified)}
    assert [rows[name]["Status"] for name in GOOD] == ["ok"] * 4
    assert all(rows[name]["Class"] in ("no", "yes") and rows[name]["Probability"].endswith(" %") for name in GOOD)
    assert all(int(rows[name]["Patches"]) > 0 and rows[name]["Unreadable"] == "0" for name in GOOD)
    broken = rows["demo-005"]
    assert broken["Status"] == "failed" and broken["Class"] == broken["Probability"] == ""
    assert "demo-005.svs" in broken["Message"] and str(classified.folder) not in broken["Message"]
    assert classified.status.text() == "5 slides: 4 ok, 1 failed; 0 reviewed"
    assert "1 failed" in classified.message.text()


def test_the_table_of_the_whole_list_is_a_csv_beside_the_results(classified: Worklist, session: Session) -> None:
    (path,) = (session.preferences.results / "worklists").glob("template-*.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = {row["slide_id"]: row for row in csv.DictReader(file)}
    assert len(rows) == 5 and rows["demo-005"]["status"] == "failed" and rows["demo-005"]["message"]
    assert {name: row["reason"] for name, row in rows.items() if row["reason"]} == {"demo-005": "file"}
    assert classified.folder is not None
    steps = scan(classified.folder, session.preferences.results, "")
    known = {entry.slide_id: entry.reason for step in steps for entry in step.result or []}
    assert {name: reason for name, reason in known.items() if reason} == {"demo-005": "file"}, "also at the next start"
    line = classified.table.lines[place(classified, "demo-001")].entry
    assert float(rows["demo-001"][f"prob_{line.label}"]) == pytest.approx(line.probability, abs=1e-5)


def test_only_the_selected_slides_are_classified(worklist: Worklist, finish: Finish) -> None:
    worklist.view.selectRow(1)
    worklist.tools.run_selected.click()
    finish(worklist.session)
    assert column(worklist, STATUS) == ["new", "ok", "new", "new", "new"]


def test_a_classified_slide_is_passed_over(classified: Worklist, session: Session, finish: Finish) -> None:
    cards = list(session.preferences.results.glob("demo-*/demo-*.json"))
    before = {path: stamp_of(path) for path in cards}
    classified.classify_all()
    finish(session)
    assert len(cards) == 4 and {path: stamp_of(path) for path in cards} == before
    assert column(classified, STATUS).count("ok") == 4


def test_rows_are_told_while_the_list_is_classified(worklist: Worklist, finish: Finish) -> None:
    seen: list[str] = []
    texts: list[str] = []
    worklist.session.jobs.stepped.connect(lambda _: seen.append("/".join(column(worklist, STATUS))))
    worklist.session.jobs.stepped.connect(lambda _: texts.append(worklist.progress.format()))
    worklist.classify_all()
    finish(worklist.session)
    assert any(row.startswith("ok/running") and row.endswith("new") for row in seen)
    assert any("slides/min" in text and "left" in text for text in texts)


def test_cancel_keeps_what_is_finished(worklist: Worklist, finish: Finish) -> None:
    session = worklist.session

    def stop(step: Step[object]) -> None:
        if column(worklist, STATUS)[0] == "ok":
            worklist.tools.cancel.click()
            assert worklist.message.text() == STOPPING

    session.jobs.stepped.connect(stop)
    worklist.classify_all()
    finish(session)
    session.jobs.stepped.disconnect(stop)
    states = column(worklist, STATUS)
    assert worklist.message.isHidden() and not worklist.message.text(), "it is not stopping any more"
    assert states[0] == "ok" and "new" in states and not any(state.startswith("running") for state in states)
    worklist.classify_all()
    finish(session)
    assert states != column(worklist, STATUS) and column(worklist, STATUS).count("ok") == 4


def test_two_files_of_one_name_fail_with_the_reason(
    make: Callable[..., Worklist], viewer: ViewerModel, template: Path, tmp_path: Path, finish: Finish
) -> None:
    folder = Path(shutil.copytree(template, tmp_path / "slides"))
    shutil.copy(folder / "demo-000.ome.tif", folder / "below" / "demo-000.tif")
    worklist = make(viewer, folder)
    worklist.classify_all()
    finish(worklist.session)
    twins = [row for row in shown(worklist) if row[SLIDE] == "demo-000"]
    assert [row[STATUS] for row in twins] == ["failed", "failed"]
    told = duplicate_names([line.entry.source for line in worklist.table.lines]).values()
    assert len(told) == 2 and {row[MESSAGE] for row in twins} == {failure.message for failure in told}
    assert not list(worklist.session.preferences.results.glob("demo-000*"))


def test_another_window_shows_the_same_table(
    classified: Worklist, make: Callable[..., Worklist], qtbot: "QtBot"
) -> None:
    open_slide(classified, "demo-001", qtbot)
    review(classified.session, decision="override")
    before = shown(classified)
    another = ViewerModel()
    again = make(another, None, model=False)
    qtbot.waitUntil(lambda: shown(again) == before, timeout=PATIENCE)
    qtbot.waitUntil(lambda: again.status.text() == classified.status.text(), timeout=PATIENCE)  # follows the table
    assert again.folder == classified.folder
    assert before[1][REVIEWED].startswith("override, ")
    qtbot.waitUntil(lambda: not session_of(another).jobs.busy, timeout=PATIENCE)


def test_a_mended_file_is_new_again(own: Worklist, cohort: Path, qtbot: "QtBot", finish: Finish) -> None:
    classified, folder = own, own.folder
    assert folder is not None
    shutil.copy(cohort / "slides" / "demo-005.ome.tif", folder / "demo-005.svs")
    classified.read_again()
    qtbot.waitUntil(lambda: column(classified, STATUS)[3] == "new", timeout=PATIENCE)
    classified.classify_all()
    finish(classified.session)
    assert column(classified, STATUS)[3] == "ok"


def test_a_file_that_became_another_is_new_and_is_not_shown_with_the_old_answer(own: Worklist, qtbot: "QtBot") -> None:
    classified, folder = own, own.folder
    assert folder is not None
    entry = classified.table.lines[place(classified, "demo-000")].entry
    shutil.copy(folder / "demo-002.ome.tif", folder / "demo-000.ome.tif")
    classified.open_slide(entry)
    wait_for(classified, "demo-000", qtbot)
    assert classified.session.shown is None and "changed" in classified.message.text()
    classified.read_again()
    qtbot.waitUntil(lambda: column(classified, STATUS)[0] == "new", timeout=PATIENCE)
    assert "changed" in column(classified, MESSAGE)[0]


def test_answers_of_another_model_are_told_apart(classified: Worklist, qtbot: "QtBot") -> None:
    session = classified.session
    session.bundle = replace(session.bundle, sha256="cd" * 32)  # type: ignore[type-var]
    session.model_changed.emit()
    qtbot.waitUntil(lambda: column(classified, STATUS).count("other model") == 4, timeout=PATIENCE)
    assert column(classified, STATUS)[3] == "new"  # the failure was the other model's
    assert column(classified, CLASS) == [""] * 5


def test_columns_sort_by_value_and_empty_cells_come_last(classified: Worklist) -> None:
    for order in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
        classified.view.sortByColumn(PROBABILITY, order)
        values = column(classified, PROBABILITY)
        numbers = [float(value.removesuffix(" %")) for value in values[:4]]
        assert numbers == sorted(numbers, reverse=order == Qt.SortOrder.DescendingOrder) and values[4] == ""


def test_numbers_in_names_sort_as_numbers(make: Callable[..., Worklist], viewer: ViewerModel, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("slide 10.tif", "slide 9.tif", "Slide 1.tif"):
        (other / name).write_bytes(b"no slide")
    worklist = make(viewer, other)
    assert column(worklist, SLIDE) == ["Slide 1", "slide 9", "slide 10"]


def test_words_and_states_filter_the_table(classified: Worklist, qtbot: "QtBot") -> None:
    classified.tools.words.setText("DEMO-00 ok")
    assert column(classified, SLIDE) == ["demo-000", "demo-001", "demo-002"]
    classified.tools.words.clear()
    classified.tools.choice.setCurrentText("failed")
    assert column(classified, SLIDE) == ["demo-005"]
    classified.tools.choice.setCurrentText("uncertain")
    assert column(classified, SLIDE) == []
    open_slide(classified, "demo-002", qtbot)
    review(classified.session)
    classified.tools.choice.setCurrentText("unreviewed")
    assert column(classified, SLIDE) == ["demo-000", "demo-001", "demo-010"]
    classified.tools.choice.setCurrentText("disagreed")
    assert column(classified, SLIDE) == [], "they agreed"
    classified.tools.choice.setCurrentText("all")
    open_slide(classified, "demo-010", qtbot)
    review(classified.session, decision="override")
    classified.tools.choice.setCurrentText("disagreed")
    assert column(classified, SLIDE) == ["demo-010"]


def test_a_slide_opens_with_its_answer_and_takes_the_last_one_away(classified: Worklist, qtbot: "QtBot") -> None:
    viewer, session = classified.session.viewer, classified.session
    viewer.add_image(np.zeros((4, 4)), name="mine")
    open_slide(classified, "demo-000", qtbot)
    assert session.shown is not None and session.shown.prediction.slide_id == "demo-000"
    assert session.shown.out == case_folder(session.preferences.results, "demo-000", session.shown.source.path)
    about = {"slide_path": viewer.layers["demo-000"].metadata[KEY]["path"]}
    viewer.add_labels(np.zeros((4, 4), np.uint8), metadata={KEY: about}, name="its")
    classified.view.selectRow(2)
    classified.view.open_current()
    qtbot.waitUntil(lambda: "demo-002" in viewer.layers, timeout=PATIENCE)
    assert sorted(layer.name for layer in viewer.layers) == ["demo-002", "mine"]
    assert session.shown.prediction.slide_id == "demo-002"
    open_slide(classified, "demo-000", qtbot)
    assert current_slide(classified.session) == classified.table.lines[place(classified, "demo-000")].entry.path


def test_a_slide_without_an_answer_opens_alone(worklist: Worklist, qtbot: "QtBot") -> None:
    open_slide(worklist, "demo-000", qtbot)
    assert worklist.session.shown is None and "demo-000" in worklist.message.text()


def test_a_broken_slide_says_what_is_wrong_when_it_is_opened(worklist: Worklist, qtbot: "QtBot") -> None:
    worklist.open_slide(worklist.table.lines[place(worklist, "demo-005")].entry)
    qtbot.waitUntil(lambda: "demo-005.svs" in worklist.message.text(), timeout=PATIENCE)
    assert not worklist.session.viewer.layers


def test_next_unreviewed_goes_round_the_table(classified: Worklist, qtbot: "QtBot") -> None:
    classified.view.sortByColumn(SLIDE, Qt.SortOrder.DescendingOrder)
    visited = []
    for expected in ("demo-010", "demo-002", "demo-001", "demo-000", "demo-010"):
        qtbot.waitUntil(classified.tools.next.isEnabled, timeout=PATIENCE)
        classified.tools.next.click()
        wait_for(classified, expected, qtbot)
        visited.append(classified.session.shown.prediction.slide_id)  # type: ignore[union-attr]
    assert visited == ["demo-010", "demo-002", "demo-001", "demo-000", "demo-010"]


def test_saving_a_review_brings_the_row_up_to_date_and_goes_on(classified: Worklist, qtbot: "QtBot") -> None:
    classified.tools.choice.setCurrentText("unreviewed")
    open_slide(classified, "demo-001", qtbot)
    review(classified.session)
    assert classified.status.text().endswith("1 reviewed") and column(classified, SLIDE)[1] == "demo-002"
    classified.tools.go_on.setChecked(True)
    open_slide(classified, "demo-002", qtbot)
    review(classified.session, decision="uncertain")
    wait_for(classified, "demo-010", qtbot)
    for following in ("demo-000", None):
        review(classified.session)
        if following:
            wait_for(classified, following, qtbot)
    assert column(classified, SLIDE) == [] and classified.message.text()
    assert not classified.tools.next.isEnabled()


def test_an_answer_of_the_other_dock_arrives_in_the_table(worklist: Worklist, qtbot: "QtBot", finish: Finish) -> None:
    open_slide(worklist, "demo-002", qtbot)
    worklist.session.classify(worklist.session.viewer.layers["demo-002"], device="cpu")
    finish(worklist.session)
    assert column(worklist, STATUS) == ["new", "new", "ok", "new", "new"]


def test_answers_are_hidden_until_the_reader_has_labelled_the_slide(classified: Worklist, qtbot: "QtBot") -> None:
    session = classified.session
    session.read_first = True
    assert column(classified, CLASS) == column(classified, PROBABILITY) == [""] * 5
    assert column(classified, STATUS) == ["read first"] * 3 + ["failed", "read first"]
    assert "4 classified, some to be read first" in classified.status.text()
    for word in ("yes", " no ", "ok"):
        classified.tools.words.setText(word)
        assert set(column(classified, SLIDE)) <= {"demo-005"}, "the message of the broken one may hold the word"
    classified.tools.words.clear()
    open_slide(classified, "demo-001", qtbot)
    review(session, event="read")
    session.decide_revealed()
    assert [bool(name) for name in column(classified, CLASS)] == [False, True, False, False, False]


def test_slides_that_finish_are_judged_at_once_and_the_whole_list_only_now_and_then(
    make: Callable[..., Worklist],
    viewer: ViewerModel,
    session: Session,
    qtbot: "QtBot",
    finished: Path,
    template: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results, count = shutil.copytree(finished, session.preferences.results), 400
    worklist = make(viewer, None)
    session.read_first = True
    *_, step = scan(template, results, session.bundle.sha256)  # type: ignore[union-attr]
    answer = next(entry for entry in step.result or [] if entry.slide_id == "demo-000")
    entries = [replace(answer, path=Path(f"{n}.svs"), slide_id=f"slide {n}") for n in range(count)]
    worklist.table.fill([replace(entry, status="new", row=None) for entry in entries])
    changed: list[int] = []
    worklist.table.dataChanged.connect(lambda first, last, _: changed.append(last.row() - first.row() + 1))
    seen, judged, judge = set[str](), list[int](), worklist.table.judge

    def count_and_judge(by: Judge) -> None:
        judged.append(len(worklist.table.lines))
        judge(by)

    monkeypatch.setattr(worklist.table, "judge", count_and_judge)
    worklist.order.dataChanged.connect(lambda *_: seen.update(column(worklist, CLASS)[:20]))
    for done, entry in enumerate(entries, 1):
        session.jobs.stepped.emit(Step(JOB, done, count, "slides", [entry]))
        assert worklist.table.lines[done - 1].hidden and worklist.table.lines[done - 1].text(STATUS) == "read first"
    assert seen == {""}, "a result was shown before it was judged"
    assert sum(changed) == count and len(judged) <= 3, "each slide that finishes judged or changed all lines"
    qtbot.waitUntil(lambda: f"{count} classified, some to be read first" in worklist.status.text(), timeout=PATIENCE)
    session.read_first = False
    assert set(column(worklist, STATUS)) == {"ok"} and f"{count} ok" in worklist.status.text()


def test_a_painted_mask_is_kept_by_the_list(own: Worklist, qtbot: "QtBot", finish: Finish) -> None:
    classified = own
    session, viewer = classified.session, classified.session.viewer
    open_slide(classified, "demo-000", qtbot)
    path = Path(viewer.layers["demo-000"].metadata[KEY]["path"])
    session.find_tissue(viewer.layers["demo-000"], on_result=lambda found: add_mask(session, *found))
    finish(session)
    mask = find_tissue_layer(session.viewer.layers, path)
    mask.data = np.where(np.arange(mask.data.shape[1]) < mask.data.shape[1] // 2, mask.data, 0)  # type: ignore
    open_slide(classified, "demo-001", qtbot)  # painted, not used yet: it waits, out of sight
    assert find_tissue_layer(session.viewer.layers, path) is mask and not mask.visible  # type: ignore[union-attr]
    open_slide(classified, "demo-000", qtbot)
    assert find_tissue_layer(session.viewer.layers, path) is mask and mask.visible and viewer.layers[-1] is mask  # type: ignore
    session.classify(viewer.layers["demo-000"], device="cpu")
    finish(session)
    answer = session.shown.prediction  # type: ignore[union-attr]
    assert answer.tissue_source == "given"
    open_slide(classified, "demo-001", qtbot)
    assert find_tissue_layer(session.viewer.layers, path) is None
    classified.classify_all()  # must not replace the answer that the mask led to
    finish(session)
    open_slide(classified, "demo-000", qtbot)
    assert session.shown.prediction.tissue_source == "given"  # type: ignore[union-attr]
    assert edited_tissue(session.viewer.layers, path) is not None
    assert classified.table.lines[place(classified, "demo-000")].entry.probability == pytest.approx(
        answer.probabilities[answer.label]
    )


def add_mask(session: Session, tissue: object, mpp: float, of: SlideFile) -> None:
    from napari_lrmil.layers.build import tissue_layer

    data, keywords, _ = tissue_layer(tissue, mpp, of=of)  # type: ignore[arg-type]
    session.viewer.add_labels(data, **keywords)


def test_a_closed_dock_does_not_act_any_more(
    classified: Worklist, make: Callable[..., Worklist], qtbot: "QtBot"
) -> None:
    again = make(classified.session.viewer, classified.folder)
    qtbot.waitUntil(lambda: column(again, STATUS).count("ok") == 4, timeout=PATIENCE)
    classified.tools.go_on.setChecked(True)
    open_slide(again, "demo-000", qtbot)
    review(again.session)
    qtbot.wait(300)
    assert again.session.shown.prediction.slide_id == "demo-000"  # type: ignore[union-attr]
    assert column(again, STATUS)[0] == "ok" and again.status.text().endswith("1 reviewed")


def test_a_damaged_memory_of_a_list_is_no_obstacle(classified: Worklist, session: Session, qtbot: "QtBot") -> None:
    (path,) = (session.preferences.results / "worklists").glob("template-*.json")
    assert json.loads(path.read_text())["format"] == "lrmil.worklist/1"
    path.write_text("{")
    classified.read_again()
    qtbot.waitUntil(lambda: column(classified, STATUS) == ["ok", "ok", "ok", "new", "ok"], timeout=PATIENCE)


def test_a_folder_that_is_gone_is_not_asked_for(
    make: Callable[..., Worklist], viewer: ViewerModel, tmp_path: Path
) -> None:
    folders.remember("worklist_folder", str(tmp_path / "gone"))
    assert make(viewer, None).folder is None


def test_none_waiting_is_said_of_the_lines_that_are_shown(classified: Worklist, qtbot: "QtBot") -> None:
    classified.tools.words.setText("no such slide")
    classified.next_unreviewed()
    assert classified.message.text() == NONE_WAITS
    classified.tools.words.setText("")
    assert classified.message.isHidden(), "there are unreviewed slides in the table again"
    classified.message.warn("The disk is full.")
    classified.tools.choice.setCurrentText("failed")
    assert classified.message.text() == "The disk is full."


PATIENTS = {"demo-000": "p", "demo-001": "q", "demo-002": "p", "demo-005": "q"}


def choose_patients(worklist: Worklist, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose a table of patients as the user does."""
    table = tmp_path / "patients-of-list.csv"
    table.write_text(text)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(table), ""))
    worklist.tools.choose_patients.click()


def table_of(cases: dict[str, str]) -> str:
    return "slide_id,case_id\n" + "".join(f"{slide_id},{case}\n" for slide_id, case in cases.items())


def answers(worklist: Worklist) -> dict[str, str]:
    return {row[SLIDE]: row[ANSWER] for row in shown(worklist)}


def test_patients_have_columns_only_where_they_are_known(
    classified: Worklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: "QtBot"
) -> None:
    view = classified.view
    assert view.isColumnHidden(PATIENT) and view.isColumnHidden(ANSWER) and set(column(classified, PATIENT)) == {""}
    choose_patients(classified, table_of(PATIENTS), tmp_path, monkeypatch)
    qtbot.waitUntil(lambda: not view.isColumnHidden(ANSWER), timeout=PATIENCE)
    assert column(classified, PATIENT) == ["p", "q", "p", "q", ""] and not view.isColumnHidden(PATIENT)
    assert "demo-010" in classified.message.text(), "it has no patient"
    said = answers(classified)
    assert said["demo-000"] == said["demo-002"] and said["demo-000"].endswith(" %") and said["demo-010"] == ""
    assert said["demo-001"] == said["demo-005"] and said["demo-001"].endswith(" %, 1 of 2 slides")
    rows = [classified.table.lines[place(classified, name)].entry.row for name in ("demo-000", "demo-002")]
    yes = pool_probabilities(np.array([[row.probabilities[one] for one in ("no", "yes")] for row in rows]), "mean")  # type: ignore[union-attr]
    assert said["demo-000"] == f"{('no', 'yes')[int(yes.argmax())]} {100 * yes.max():.1f} %"
    classified.tools.words.setText("q")
    assert column(classified, SLIDE) == ["demo-001", "demo-005"], "a patient can be searched for"


def test_the_answer_for_a_patient_grows_while_slides_are_classified(
    worklist: Worklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: "QtBot", finish: Finish
) -> None:
    choose_patients(worklist, table_of(PATIENTS), tmp_path, monkeypatch)
    qtbot.waitUntil(lambda: answers(worklist)["demo-000"] == "0 of 2 slides", timeout=PATIENCE)
    seen: list[str] = []
    worklist.session.jobs.stepped.connect(lambda _: seen.append(answers(worklist)["demo-002"]))
    worklist.classify_all()
    finish(worklist.session)
    order = list(dict.fromkeys(seen))
    assert len(order) == 3 and order[0] == "0 of 2 slides" and order[1].endswith(" %, 1 of 2 slides")
    assert order[2] == answers(worklist)["demo-002"] and order[2].endswith(" %")


def test_read_first_hides_the_answer_of_a_patient_until_each_slide_is_read(
    classified: Worklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: "QtBot"
) -> None:
    session = classified.session
    choose_patients(classified, table_of(PATIENTS), tmp_path, monkeypatch)
    qtbot.waitUntil(lambda: answers(classified)["demo-000"].endswith(" %"), timeout=PATIENCE)
    open_answer = answers(classified)["demo-000"]
    session.read_first = True
    for slide_id in ("demo-000", "demo-002"):
        assert answers(classified)["demo-000"] == "read first"
        open_slide(classified, slide_id, qtbot)
        review(session, event="read")
        session.revealed_changed.emit()
    assert answers(classified)["demo-000"] == open_answer
    assert answers(classified)["demo-001"] == "read first, 1 of 2 slides"


def test_patients_are_those_of_the_folder_and_come_again(
    classified: Worklist, make: Callable[..., Worklist], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: "QtBot"
) -> None:
    choose_patients(classified, table_of(PATIENTS), tmp_path, monkeypatch)
    qtbot.waitUntil(lambda: classified.table.has_cases, timeout=PATIENCE)
    other = tmp_path / "other"
    other.mkdir()
    (other / "demo-000.tif").write_bytes(b"no slide")
    folder = classified.folder
    assert folder is not None
    classified.open_folder(other)
    assert not classified.table.has_cases
    qtbot.waitUntil(lambda: column(classified, SLIDE) == ["demo-000"] and not classified.scanning, timeout=PATIENCE)
    assert not classified.table.has_cases and classified.view.isColumnHidden(PATIENT)
    classified.open_folder(folder)
    qtbot.waitUntil(lambda: column(classified, PATIENT) == ["p", "q", "p", "q", ""], timeout=PATIENCE)


def test_a_table_of_patients_that_cannot_be_used_is_told(
    classified: Worklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: "QtBot"
) -> None:
    choose_patients(classified, "slide_id,age\ndemo-000,50\n", tmp_path, monkeypatch)
    qtbot.waitUntil(lambda: "case_id" in classified.message.text(), timeout=PATIENCE)
    assert not classified.table.has_cases and classified.view.isColumnHidden(ANSWER)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    before = classified.message.text()
    classified.tools.choose_patients.click()
    assert classified.message.text() == before, "nothing was chosen"


def test_patients_need_a_folder_first(make: Callable[..., Worklist], viewer: ViewerModel) -> None:
    worklist = make(viewer, None)
    worklist.tools.choose_patients.click()
    assert "folder" in worklist.message.text()
