"""A row finds the slides it is about, by name, beginning or patient; what is not sure is named and never guessed."""

import string
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrmil.cohorts.cohort import Cohort, CohortReport, Problem, TableOptions, validate_cohort
from lrmil.cohorts.columns import ALIASES, normal_name

UUIDS = [f"{n:08X}-1F0E-4D52-9C1A-7B3F5D2E8A{n:02}" for n in range(12)]
BARCODES = [f"TCGA-AA-{1000 + n}-01Z-00-DX1" for n in range(12)]


def check(
    tmp_path: Path,
    slides: Sequence[str],
    rows: Sequence[str],
    header: str = "slide_id,case_id,label",
    *,
    folds: int | None = None,
    **options: object,
) -> CohortReport:
    """Validate a table against slides of these names; nothing opens them."""
    folder = tmp_path / "slides"
    folder.mkdir(exist_ok=True)
    for name in slides:
        (folder / f"{name}.svs").touch()
    table = tmp_path / "labels.csv"
    table.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return validate_cohort(folder, table, folds=folds, options=TableOptions(**options))  # type: ignore[arg-type]


def checked(report: CohortReport) -> Cohort:
    assert report.cohort is not None, report.problems
    return report.cohort


def labels(report: CohortReport) -> dict[str, str]:
    return {slide.slide_id: slide.label for slide in checked(report).slides}


def errors(report: CohortReport) -> list[Problem]:
    return [problem for problem in report.problems if problem.severity == "error"]


def warnings(report: CohortReport) -> str:
    return "\n".join(problem.message for problem in report.problems if problem.severity == "warning")


def goes_on(slide: str, name: str) -> bool:
    return slide.startswith(name) and len(slide) > len(name) + 1 and slide[len(name)] in "._-"


def alternating(names: Sequence[str]) -> list[str]:
    return [f"{name},p{n},{'ab'[n % 2]}" for n, name in enumerate(names)]


class TestBarcode:
    @pytest.mark.parametrize("extension", ["", ".svs", ".h5"])
    def test_the_one_file_with_a_uuid_behind(self, tmp_path: Path, extension: str) -> None:
        files = [f"{barcode}.{uuid}" for barcode, uuid in zip(BARCODES, UUIDS, strict=True)]
        report = check(tmp_path, files, alternating([barcode + extension for barcode in BARCODES]), folds=5)
        assert labels(report) == {name: "ab"[n % 2] for n, name in enumerate(files)}
        assert "12 of the names" in warnings(report) and f"'{BARCODES[0]}{extension}' is '{files[0]}'" in warnings(
            report
        )

    @pytest.mark.parametrize("extension", ["", ".svs"])
    def test_a_uuid_in_the_table_alone(self, tmp_path: Path, extension: str) -> None:
        written = [f"{barcode}.{uuid}{extension}" for barcode, uuid in zip(BARCODES, UUIDS, strict=True)]
        report = check(tmp_path, BARCODES, alternating(written))
        assert labels(report) == {name: "ab"[n % 2] for n, name in enumerate(BARCODES)}

    def test_two_files_of_a_barcode_are_named(self, tmp_path: Path) -> None:
        files = [f"{BARCODES[0]}.{uuid}" for uuid in UUIDS[:2]]
        (error,) = errors(check(tmp_path, files, [f"{BARCODES[0]},p,a"]))
        assert all(f"'{name}'" in error.message for name in files) and error.row == 2
        assert "--case-column 'slide_id'" in error.hint

    def test_another_uuid_is_another_file(self, tmp_path: Path) -> None:
        report = check(tmp_path, [f"{BARCODES[0]}.{UUIDS[0]}"], [f"{BARCODES[0]}.{UUIDS[1]},p,a"])
        assert len(errors(report)) == 1 and UUIDS[1] in errors(report)[0].message


class TestBeginning:
    @pytest.mark.parametrize("rest", ["_HE", "-DX1.scan", " (copy)", ".x_2"])
    def test_the_one_slide_that_begins_so(self, tmp_path: Path, rest: str) -> None:
        report = check(tmp_path, [f"s1{rest}", "s12", "s10_HE"], ["s1,p1,a", "s12,p2,b", "s10,p3,a"])
        assert labels(report) == {f"s1{rest}": "a", "s12": "b", "s10_HE": "a"}
        assert f"'s1' is 's1{rest}'" in warnings(report) and "2 of the names" in warnings(report)

    @pytest.mark.parametrize("rest", ["2", "x", "b_HE"])
    def test_it_ends_at_a_separator(self, tmp_path: Path, rest: str) -> None:
        (error,) = errors(check(tmp_path, [f"s1{rest}"], ["s1,p1,a"]))
        assert error.row == 2 and "no slide 's1' among" in error.message

    @pytest.mark.parametrize("rest", ["_2", "-10", ".5"])
    def test_a_number_behind_it_may_be_the_next_slide(self, tmp_path: Path, rest: str) -> None:
        (error,) = errors(check(tmp_path, [f"s1{rest}"], ["s1,p1,a"]))
        assert f"may be another slide: 's1{rest}'" in error.message

    def test_several_are_named(self, tmp_path: Path) -> None:
        (error,) = errors(check(tmp_path, ["s1_HE", "s1_IHC"], ["s1,p1,a"]))
        assert "'s1'" in error.message and "'s1_HE', 's1_IHC'" in error.message

    def test_a_slide_with_a_row_of_its_own_is_not_taken(self, tmp_path: Path) -> None:
        (error,) = errors(check(tmp_path, ["s1_HE"], ["s1_HE,p1,a", "s1,p2,b"]))
        assert error.row == 3 and "'s1_HE'" in error.message

    def test_two_rows_do_not_share_a_slide(self, tmp_path: Path) -> None:
        found = errors(check(tmp_path, ["s1_a_HE"], ["s1,p1,a", "s1_a,p2,b"]))
        assert {error.row for error in found} == {2, 3}

    def test_a_whole_file_name_is_not_a_beginning(self, tmp_path: Path) -> None:
        (error,) = errors(check(tmp_path, ["s1_HE"], ["s1.svs,p1,a"]))
        assert "no slide 's1.svs' among" in error.message

    @given(st.lists(st.text("ab1_-.", min_size=1, max_size=5), min_size=1, max_size=6, unique=True), st.data())
    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_slide_gets_a_label_that_is_not_its_own(
        self, tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject
    ) -> None:
        """Where a table is accepted, each slide's row is its name, or the only row that is a beginning of it."""
        slides = [name for name in names if name.strip(".") == name]
        written = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        rows = [f"{name},p{n},l{n}" for n, name in enumerate(written)]
        report = check(tmp_path_factory.mktemp("cohort"), slides, rows)
        if report.cohort is None:
            return
        of_label = {f"l{n}": name for n, name in enumerate(written)}
        for slide_id, label in labels(report).items():
            name = of_label[label]
            if slide_id != name:
                assert slide_id not in written
                assert [other for other in slides if goes_on(other, name)] == [slide_id]
        assert sorted(labels(report).values()) == sorted(of_label), "no row is lost"


class TestPatients:
    def test_a_row_counts_for_all_slides_of_its_patient(self, tmp_path: Path) -> None:
        files = ["P1_1", "P1_2", "P2", "P10_a", "P2-b.c"]
        report = check(tmp_path, files, ["P1,a", "P2,b", "P10,a"], "case_id,label")
        assert labels(report) == {"P1_1": "a", "P1_2": "a", "P2": "b", "P2-b.c": "b", "P10_a": "a"}
        assert checked(report).by_id["P2-b.c"].case_id == "P2"
        assert "5 slides of 3 cases" in warnings(report)

    @pytest.mark.parametrize("column", ["patient", "PATIENT", "case_id", "submitter_id", "case_submitter_id"])
    def test_tcga(self, tmp_path: Path, column: str) -> None:
        files = [f"{barcode}.{uuid}" for barcode, uuid in zip(BARCODES, UUIDS, strict=True)]
        rows = [f"{barcode[:12]},{'ab'[n % 2]}" for n, barcode in enumerate(BARCODES)]
        report = check(tmp_path, files, rows, f"{column},label", folds=5)
        assert labels(report) == {name: "ab"[n % 2] for n, name in enumerate(files)}
        assert {slide.case_id for slide in checked(report).slides} == {barcode[:12] for barcode in BARCODES}

    def test_other_columns_go_with_the_patient(self, tmp_path: Path) -> None:
        rows = ["P1,a,train,0.25,x", "P2,b,train,,y", "P3,a,test,,x"]
        report = check(tmp_path, ["P1_1", "P1_2", "P2_1", "P3"], rows, "patient,label,split,mpp,site")
        slides = checked(report).by_id
        assert (slides["P1_2"].split, slides["P1_2"].mpp, slides["P1_2"].site) == ("train", 0.25, "x")

    def test_a_slide_of_two_patients_is_named(self, tmp_path: Path) -> None:
        found = errors(check(tmp_path, ["P1-2_a", "P1_b"], ["P1,a", "P1-2,b"], "case_id,label"))
        (error,) = [error for error in found if "one case for slide" in error.message]
        assert "'P1-2_a'" in error.message and "'P1', 'P1-2'" in error.message

    def test_a_patient_without_slides(self, tmp_path: Path) -> None:
        rows = ["P1,a", "P2,b", "P3,b"]
        (error,) = errors(check(tmp_path, ["P1_1", "P2_1", "P33"], rows, "case_id,label"))
        assert error.row == 4 and "'P3'" in error.message and "--skip-missing" in error.message
        report = check(tmp_path, [], rows, "case_id,label", skip_missing=True)
        assert labels(report) == {"P1_1": "a", "P2_1": "b"} and "1 rows are skipped" in warnings(report)

    def test_a_slide_column_that_holds_patients(self, tmp_path: Path) -> None:
        files, rows = ["P1_1", "P1_2", "P2_1", "P2_2"], ["P1,a", "P2,b"]
        assert all(
            "--case-column 'slide_id'" in error.hint for error in errors(check(tmp_path, files, rows, "slide_id,label"))
        )
        report = check(tmp_path, files, rows, "slide_id,label", case_column="slide_id")
        assert labels(report) == {"P1_1": "a", "P1_2": "a", "P2_1": "b", "P2_2": "b"}

    def test_two_rows_of_a_patient(self, tmp_path: Path) -> None:
        report = check(tmp_path, ["P1_1", "P2_1"], ["P1,a", "P1,b", "P2,a"], "case_id,label")
        assert "one label for slide 'P1_1'; got 'a', 'b'" in errors(report)[0].message

    @pytest.mark.parametrize("cell", ["", "NA"])
    def test_a_row_without_a_patient(self, tmp_path: Path, cell: str) -> None:
        (error,) = errors(check(tmp_path, ["P1_1"], ["P1,a", f"{cell},b"], "case_id,label"))
        assert (error.row, error.column) == (3, "case_id") and "empty" in error.message


class TestSkipMissing:
    def test_the_default_is_an_error_that_names_the_option(self, tmp_path: Path) -> None:
        found = errors(check(tmp_path, ["s1", "s2"], alternating(["s1", "s2", "s3", "far"])))
        assert [error.row for error in found] == [4, 5]
        assert all("--skip-missing" in error.message for error in found)

    def test_rows_without_a_slide_are_counted_and_named(self, tmp_path: Path) -> None:
        rows = alternating(["s1", "s2", "x7", "x8", "x8"])
        report = check(tmp_path, ["s1", "s2"], rows, skip_missing=True)
        assert labels(report) == {"s1": "a", "s2": "b"}
        assert "3 rows are skipped" in warnings(report) and "'x7', 'x8'" in warnings(report)

    def test_what_is_wrong_with_their_cells_does_not_matter(self, tmp_path: Path) -> None:
        rows = ["s1,p1,a,0.25", "s2,p2,b,", "x1,p3,,fast", "x2,p4,NA,", ",p5,a,", "x3,,a,250"]
        report = check(tmp_path, ["s1", "s2"], rows, "slide_id,case_id,label,mpp", skip_missing=True)
        assert labels(report) == {"s1": "a", "s2": "b"}
        assert "3 rows are skipped" in warnings(report) and "1 rows are skipped" in warnings(report)
        assert len(errors(check(tmp_path, [], rows, "slide_id,case_id,label,mpp"))) > 3

    def test_cells_of_slides_that_are_there_do_matter(self, tmp_path: Path) -> None:
        (error,) = errors(check(tmp_path, ["s1", "s2"], ["s1,p1,a", "s2,p2,", "x,p3,a"], skip_missing=True))
        assert (error.row, error.column) == (3, "label")

    def test_a_table_about_other_slides_alone_is_refused(self, tmp_path: Path) -> None:
        report = check(tmp_path, ["s1"], alternating(["x1", "x2"]), skip_missing=True)
        assert [error.row for error in errors(report)] == [2, 3]

    @pytest.mark.parametrize("rows", [["s1_2,p1,a", "s1,p2,b"], ["s3,p1,a", "s1,p2,b"]])
    def test_a_slide_that_another_one_s_name_goes_on_from_may_be_missing(self, tmp_path: Path, rows: list[str]) -> None:
        files = ["s1_2", "s3"]
        assert "may be another slide: 's1_2'" in errors(check(tmp_path, files, rows))[0].message
        assert "--skip-missing" in errors(check(tmp_path, files, rows))[0].hint
        report = check(tmp_path, files, rows, skip_missing=True)
        assert labels(report) == {rows[0].split(",")[0]: "a"}
        assert "1 rows are skipped" in warnings(report) and "'s1'" in warnings(report)

    def test_several_slides_of_a_name_are_not_left_out_in_silence(self, tmp_path: Path) -> None:
        rows = alternating(["s2", "s1"])
        (error,) = errors(check(tmp_path, ["s1_HE", "s1_IHC", "s2"], rows, skip_missing=True))
        assert "'s1_HE', 's1_IHC'" in error.message


class TestOtherColumn:
    def test_the_column_that_does_name_slides_is_offered(self, tmp_path: Path) -> None:
        rows = [f"{n},s{n}.svs,{'ab'[n % 2]}" for n in range(3)]
        found = errors(check(tmp_path, ["s0", "s1", "s2"], rows, "slide_id,picture,label"))
        assert found and all("'picture'" in error.hint and "--slide-column" in error.hint for error in found)
        report = check(tmp_path, [], rows, "slide_id,picture,label", slide_column="picture")
        assert labels(report) == {"s0": "a", "s1": "b", "s2": "a"}


@given(
    st.lists(st.text(string.ascii_letters + "éü 0", min_size=1, max_size=6), max_size=3, unique=True),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.permutations(["slide_id", "case_id", "label"]),
)
@settings(deadline=None, max_examples=40)
def test_more_columns_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, more: list[str], separator: str, encoding: str, columns: list[str]
) -> None:
    """Whatever stands beside, in whichever order, separator and encoding: the same cohort."""
    tmp_path = tmp_path_factory.mktemp("cohort")
    plain = check(tmp_path, ["s0", "s1", "s2"], alternating(["s0", "s1", "s2"]))
    known = {*ALIASES, *(alias for aliases in ALIASES.values() for alias in aliases), ""}
    header = [*columns, *(name for name in more if normal_name(name) not in known)]
    value = {"slide_id": "s{n}", "case_id": "p{n}", "label": "{label}"}
    lines = [separator.join(header)]
    for n in range(3):
        cells = [value.get(name, "s1").format(n=n, label="ab"[n % 2]) for name in header]
        lines.append(separator.join(cells))
    (tmp_path / "labels.csv").write_bytes("\r\n".join(lines).encode(encoding))
    report = validate_cohort(tmp_path / "slides", tmp_path / "labels.csv", folds=None)
    assert checked(report) == checked(plain) and report.problems == ()
