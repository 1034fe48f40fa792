"""Lists of checksums: every usual form is read, and a slide with one bit flipped is refused before it is read."""

import csv
import hashlib
import json
import shutil
import subprocess
import time
from pathlib import Path

import h5py
import openpyxl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrmil import cli
from lrmil.demo.synthetic import make_slide
from lrmil.errors import CohortError, SlideError
from lrmil.features.extraction import Extracted, extract_features
from lrmil.features.store import read_card
from lrmil.features.trident import write_trident
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.patches.plan import PatchPlan
from lrmil.prediction.batch import predict_slides
from lrmil.slides.checksums import BY_LENGTH, Checksum, read_checksums, verify
from lrmil.slides.opening import open_slide
from lrmil.slides.parts import fingerprint_of, parts_of
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.runs import ON_CPU, tiny_bundle
from support.slides import write_pyramid
from support.vendor_slides import write_mrxs

SERIES_TAG = b"\x20\x00\x0e\x00UI"  # Series Instance UID in DICOM
CPU = ["--device", "cpu"]


def digest(file: Path, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, file.read_bytes()).hexdigest()


def flip_bit(file: Path, where: float = 0.6) -> None:
    data = bytearray(file.read_bytes())
    data[int(where * len(data))] ^= 1
    file.write_bytes(data)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for name in ("a", "b", "c d"):
        pixels = make_slide("negative", seed=ord(name[0]), size=1024).pixels
        write_pyramid(folder / f"{name}.tif", pixels, 0.5, compression=None)
    return folder


@pytest.fixture
def slides(made: Path, tmp_path: Path) -> Path:
    """Three uncompressed slides, of which no decoder can see a flipped bit."""
    return shutil.copytree(made, tmp_path / "slides")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    save_bundle(folder, tiny_bundle())
    return folder


def write_list(path: Path, *files: Path) -> Path:
    path.write_text("".join(f"{digest(file)}  {file.name}\n" for file in files))
    return path


class TestList:
    @pytest.mark.parametrize("program", [f"{name}sum" for name in BY_LENGTH.values()])
    @pytest.mark.parametrize("options", [[], ["--binary"], ["--tag"]])
    def test_what_the_usual_programs_write_is_read(self, slides: Path, program: str, options: list[str]) -> None:
        if shutil.which(program) is None:
            pytest.fail(f"{program} is part of every Linux")
        said = subprocess.run(
            [program, *options, "a.tif", "c d.tif"], cwd=slides, capture_output=True, text=True, check=True
        )
        path = slides / "sums.txt"
        path.write_text(said.stdout)
        stated = read_checksums(path)
        algorithm = program.removesuffix("sum")
        for name in ("a.tif", "c d.tif"):
            found = stated.of(slides / name)
            assert found == Checksum(slides / name, digest(slides / name, algorithm), "sums.txt")
            verify([found])
        assert stated.of(slides / "b.tif") is None

    def test_names_that_the_programs_escape_are_read(self, tmp_path: Path) -> None:
        slide = tmp_path / "new\nline.svs"
        slide.write_bytes(b"pixels")
        said = subprocess.run(["sha256sum", slide.name], cwd=tmp_path, capture_output=True, text=True, check=True)
        tagged = subprocess.run(
            ["sha256sum", "--tag", slide.name], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        for text in (said.stdout, tagged.stdout):
            (tmp_path / "sums").write_text(text)
            assert text.startswith("\\")
            assert read_checksums(tmp_path / "sums").of(slide) == Checksum(slide, digest(slide), "sums")

    def test_a_manifest_of_the_genomic_data_commons_is_read(self, slides: Path, tmp_path: Path) -> None:
        rows = ["id\tfilename\tmd5\tsize\tstate"]
        rows += [
            f"uuid\t{file.name}\t{digest(file, 'md5')}\t{file.stat().st_size}\treleased" for file in slides.iterdir()
        ]
        (tmp_path / "gdc_manifest.txt").write_text("\n".join(rows) + "\n")
        stated = read_checksums(tmp_path / "gdc_manifest.txt")
        for file in slides.iterdir():
            assert stated.of(file) == Checksum(file, digest(file, "md5"), "gdc_manifest.txt")

    def test_a_spreadsheet_is_read_and_the_longest_hash_counts(self, slides: Path, tmp_path: Path) -> None:
        book = openpyxl.Workbook()
        for row in (["MD5", "SHA256", "File"], ["0" * 32, digest(slides / "a.tif").upper(), "x/a.tif"]):
            book.active.append(row)
        book.save(tmp_path / "sums.xlsx")
        assert read_checksums(tmp_path / "sums.xlsx").of(slides / "a.tif") == Checksum(
            slides / "a.tif", digest(slides / "a.tif"), "sums.xlsx"
        )

    def test_what_windows_and_others_write_is_read(self, slides: Path, tmp_path: Path) -> None:
        slide, stated = slides / "a.tif", digest(slides / "a.tif")
        texts = [
            f"{stated} *a.tif\r\n".encode("utf-16"),  # ">" in PowerShell
            f"# sha256 of the slides\n{stated}  a.tif\n".encode(),
            f'"File name","SHA-256"\n"a.tif","{stated}"\n'.encode(),
            f"sep=;\nfilename;sha256sum\na.tif;{stated}\n".encode(),
            f"file\tSHA256 checksum\na.tif\t{stated}\n".encode(),
        ]
        for text in texts:
            (tmp_path / "sums.csv").write_bytes(text)
            assert read_checksums(tmp_path / "sums.csv").of(slide) == Checksum(slide, stated, "sums.csv"), text

    def test_letters_of_two_signs_are_the_same_name(self, tmp_path: Path) -> None:
        (tmp_path / "sums").write_text(f"{'1' * 64}  Mu\u0308ller.svs\n{'2' * 64}  \u00e4.svs\n", encoding="utf-8")
        stated = read_checksums(tmp_path / "sums")
        for name, number in (("M\u00fcller.svs", "1"), ("a\u0308.svs", "2")):
            found = stated.of(tmp_path / name)
            assert found is not None and found.digest == number * 64

    def test_of_two_algorithms_the_longer_counts(self, tmp_path: Path) -> None:
        (tmp_path / "sums").write_text(f"MD5 (a.svs) = {'1' * 32}\nSHA256 (a.svs) = {'2' * 64}\n")
        found = read_checksums(tmp_path / "sums").of(tmp_path / "a.svs")
        assert found is not None and found.digest == "2" * 64

    @pytest.mark.parametrize(
        ("slide", "part"), [("B.mrxs", "B/Data0000.dat"), ("B", "B/1.dcm"), ("B.ome.zarr", "B.ome.zarr/0/0/0")]
    )
    def test_files_of_another_slide_that_have_the_same_name_are_not_meant(
        self, tmp_path: Path, slide: str, part: str
    ) -> None:
        (tmp_path / "sums").write_text(f"{'1' * 64}  slides/{part.replace('B', 'A')}\n")
        stated = read_checksums(tmp_path / "sums")
        assert stated.of(tmp_path / part, slide=tmp_path / slide) is None
        other, its_slide = tmp_path / part.replace("B", "A"), tmp_path / slide.replace("B", "A")
        found = stated.of(other, slide=its_slide)
        assert found is not None and found.digest == "1" * 64, "wherever the folder of the slides is now"

    def test_a_list_made_inside_a_slides_folder_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "sums").write_text(f"{'1' * 64}  ./0/0\n{'2' * 64}  ./1/0\n")
        found = read_checksums(tmp_path / "sums").of(tmp_path / "A.zarr/1/0", slide=tmp_path / "A.zarr")
        assert found is not None and found.digest == "2" * 64

    def test_ten_thousands_of_chunks_take_seconds(self, tmp_path: Path) -> None:
        names = [f"A.zarr/0/{y}/{x}" for y in range(100) for x in range(300)]
        (tmp_path / "sums").write_text("".join(f"{n:064x}  {name}\n" for n, name in enumerate(names)))
        start = time.process_time()
        stated = read_checksums(tmp_path / "sums")
        found = [stated.of(tmp_path / name, slide=tmp_path / "A.zarr") for name in names]
        assert [int(one.digest, 16) for one in found if one] == list(range(len(names)))
        assert time.process_time() - start < 10  # 1 s where nothing else runs

    def test_a_list_that_may_not_be_read_is_one_sentence(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied")

        (tmp_path / "sums").write_text("x")
        monkeypatch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(CohortError, match="Permission denied"):
            read_checksums(tmp_path / "sums")

    def test_folders_tell_files_of_one_name_apart(self, tmp_path: Path) -> None:
        (tmp_path / "sums").write_text(f"{'1' * 64}  x/slide.svs\n{'2' * 64}  ./y/slide.svs\n")
        stated = read_checksums(tmp_path / "sums")
        for folder, number in (("x", "1"), ("y", "2")):
            found = stated.of(tmp_path / folder / "slide.svs")
            assert found is not None and found.digest == number * 64
        with pytest.raises(CohortError, match=r"one checksum for slide\.svs in .*Got 2\."):
            stated.of(tmp_path / "z" / "slide.svs")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "contains no checksum"),
            ("slide_id,mpp\na,0.25\n", "line 1: 'slide_id,mpp'; line 2: 'a,0.25'"),
            (f"{'0' * 64}  a.svs\n{'0' * 63}  b.svs\n", "line 2: "),
            (f"SHA256 (a.svs) = {'0' * 32}\n", "line 1: "),
            (f"filename,md5\na.svs,{'0' * 64}\nb.svs,\n", "row 2: .* as the md5 of 'a.svs'; row 3: '' as"),
            (f"id,md5\na.svs,{'0' * 32}\n", "the columns id, md5"),
        ],
    )
    def test_what_is_no_list_is_told_with_its_lines(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "sums.csv").write_text(text)
        with pytest.raises(CohortError, match=said):
            read_checksums(tmp_path / "sums.csv")

    def test_a_list_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(CohortError, match="There is no list of checksums"):
            read_checksums(tmp_path / "sums")

    @given(st.binary(max_size=200), st.sampled_from(["sums", "sums.csv", "sums.xlsx"]))
    def test_any_bytes_are_a_list_or_a_sentence(
        self, tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
    ) -> None:
        path = tmp_path_factory.mktemp("list") / name
        path.write_bytes(data)
        try:
            read_checksums(path)
        except CohortError as error:
            assert "list of checksums" in str(error)


class TestSlides:
    @pytest.mark.parametrize("place", [0.1, 0.6, 0.99])
    def test_a_flipped_bit_fails_its_slide_alone(self, slides: Path, model: Path, tmp_path: Path, place: float) -> None:
        sums = write_list(tmp_path / "sums", *slides.iterdir())
        flip_bit(slides / "b.tif", place)
        options = ["--model", str(model), "--out", str(tmp_path / "out"), "--checksums", str(sums)]
        code = cli.main(["predict", str(slides), *options, *CPU])
        with (tmp_path / "out" / "predictions.csv").open(newline="", encoding="utf-8") as file:
            rows = {row["slide_id"]: row for row in csv.DictReader(file)}
        assert code == 1
        assert {name: row["status"] for name, row in rows.items()} == {"a": "ok", "b": "failed", "c d": "ok"}
        assert rows["b"]["reason"] == "file"
        assert rows["b"]["message"].startswith("Expected b.tif to have the sha256 ")
        assert "that sums states" in rows["b"]["message"] and "Copy it again" in rows["b"]["message"]

    def test_evaluation_compares_too(self, slides: Path, model: Path, tmp_path: Path) -> None:
        sums = write_list(tmp_path / "sums", *slides.iterdir())
        flip_bit(slides / "b.tif", 0.6)
        one, two = load_bundle(model).classes[:2]
        (tmp_path / "labels.csv").write_text(f"slide_id,label\na,{one}\nb,{two}\nc d,{two}\n")
        arguments = ["evaluate", str(slides), str(tmp_path / "labels.csv"), "--model", str(model), *CPU]
        assert cli.main([*arguments, "--out", str(tmp_path / "out"), "--checksums", str(sums)]) == 1
        failed = json.loads((tmp_path / "out/evaluation.json").read_text())["failed"]
        assert list(failed) == ["b"] and "that sums states" in failed["b"]

    def test_an_earlier_answer_does_not_stand_in_for_the_comparison(
        self, slides: Path, model: Path, tmp_path: Path
    ) -> None:
        """Where damage lies between the samples of the fingerprint, only reading it whole can see it."""
        slide, checksum = slides / "a.tif", digest(slides / "a.tif")
        source = SlideSource("a", slide)
        bundle = tiny_bundle()
        assert last(predict_slides([source], bundle, tmp_path / "out", ON_CPU))[0].status == "ok"
        wrong = source._replace(checksums=(Checksum(slide, "0" * len(checksum), "sums"),))
        assert last(predict_slides([wrong], bundle, tmp_path / "out", ON_CPU))[0].status == "failed"

    def test_every_answer_says_with_what_its_slide_was_compared(
        self, slides: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Where nothing was compared an answer may be of other pixels: it says that, so no difference is silent."""
        sums = write_list(tmp_path / "sums", slides / "a.tif")
        said = {"a": f"sha256 {digest(slides / 'a.tif')}", "b": "not compared", "c d": "not compared"}
        out, options = tmp_path / "out", ["--checksums", str(sums)]
        assert cli.main(["predict", str(slides), "--model", str(model), "--out", str(out), *options, *CPU]) == 0
        with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
            assert {row["slide_id"]: row["checksum"] for row in csv.DictReader(file)} == said
        for name, checksum in said.items():
            assert json.loads((out / f"{name}.json").read_text())["prediction"]["checksum"] == checksum
        capsys.readouterr()
        assert cli.main(["inspect", str(slides), *options, "--json"]) == 0
        documents = json.loads(capsys.readouterr().out)
        assert {Path(one["path"]).stem: one["checksum"] for one in documents} == said

    def test_the_page_of_a_case_says_with_what_its_slide_was_compared(
        self, slides: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        slide, out = slides / "a.tif", tmp_path / "case"
        sums = write_list(tmp_path / "sums", slide)
        command = ["case", str(slide), "--model", str(model), "--out", str(out), *CPU]
        assert cli.main(command) == 0
        assert "<th>Checksum</th><td><code>not compared</code></td>" in (out / "a.html").read_text()
        assert cli.main([*command, "--checksums", str(sums)]) == 0
        assert f"<th>Checksum</th><td><code>sha256 {digest(slide)}</code></td>" in (out / "a.html").read_text()
        flip_bit(slide)
        assert cli.main([*command, "--checksums", str(sums)]) == 1
        assert "that sums states" in capsys.readouterr().err.replace("\n", " ")

    def test_features_say_with_what_their_slide_was_compared(self, slides: Path, tmp_path: Path) -> None:
        slide, out = slides / "a.tif", tmp_path / "features"
        compared = SlideSource("a", slide, checksums=(Checksum(slide, digest(slide), "sums"),))
        encoder = PatchEncoder(tiny_bundle().encoder, torch.device("cpu"), batch_size=16)

        def extract(source: SlideSource) -> Extracted:
            return last(extract_features([source], encoder, "hash", out, PatchPlan(2.0, 64)))[0]

        assert extract(SlideSource("a", slide)).computed
        assert read_card(out / "a.zarr").checksum == "not compared"
        assert extract(compared).computed, "what was made of bytes that were not compared does not count"
        write_trident(tmp_path / "a.h5", out / "a.zarr")
        with h5py.File(tmp_path / "a.h5") as exported:
            assert exported["coords"].attrs["checksum"] == f"sha256 {digest(slide)}"
        assert not extract(compared).computed
        assert not extract(SlideSource("a", slide)).computed, "nor is a compared one lost without the list"
        assert read_card(out / "a.zarr").checksum == f"sha256 {digest(slide)}"

    def test_only_an_answer_that_was_compared_counts_where_a_checksum_is_stated(
        self, slides: Path, tmp_path: Path
    ) -> None:
        """Damage between the samples of the fingerprint may have been in the earlier answer, and be mended now."""
        slide, out, bundle = slides / "a.tif", tmp_path / "out", tiny_bundle()
        plain = SlideSource("a", slide)
        compared = plain._replace(checksums=(Checksum(slide, digest(slide), "sums"),))

        def predicted(source: SlideSource) -> tuple[str, int]:
            row = last(predict_slides([source], bundle, out, ON_CPU))[0]
            return row.checksum, (out / "a.json").stat().st_mtime_ns

        before, after = predicted(plain), predicted(compared)
        assert before[0] == "not compared" and before[1] < after[1]
        assert after[0] == f"sha256 {digest(slide)}"
        assert predicted(compared) == predicted(plain) == after

    def test_the_files_of_a_slide_of_many_are_counted(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        slide = tmp_path / "A.mrxs"
        write_mrxs(slide, make_slide("negative", seed=1, size=1024).pixels[:512, :640])
        files = [slide, *sorted((tmp_path / "A").iterdir())]

        def comparison_of(listed: list[Path]) -> str:
            write_list(tmp_path / "sums", *listed)
            assert cli.main(["inspect", str(slide), "--checksums", str(tmp_path / "sums"), "--json"]) == 0
            return str(json.loads(capsys.readouterr().out)[0]["checksum"])

        whole, some = comparison_of(files), comparison_of(files[:2])
        assert whole.startswith(f"sha256 of {len(files)} of {len(files)} files, together ")
        assert some.startswith(f"sha256 of 2 of {len(files)} files, together ")
        assert comparison_of(files[::-1]) == whole, "the order of the list does not matter"
        assert comparison_of([files[0], files[2]]) != some, "other files"
        index = tmp_path / "A" / "Slidedat.ini"
        index.write_bytes(index.read_bytes() + b"\n")
        assert comparison_of(files) != whole, "other content"

    def test_inspect_validate_and_extract_compare_too(
        self, slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sums = write_list(tmp_path / "sums", *slides.iterdir())
        flip_bit(slides / "b.tif")
        options = ["--checksums", str(sums)]
        assert cli.main(["inspect", str(slides), *options, "--json"]) == 1
        inspected = {Path(one["path"]).stem: one for one in json.loads(capsys.readouterr().out)}
        assert {name: one["status"] for name, one in inspected.items()} == {"a": "ok", "b": "failed", "c d": "ok"}
        labels = tmp_path / "labels.csv"
        labels.write_text("slide_id,label\na,x\nb,y\nc d,x\n")
        assert cli.main(["validate", str(slides), str(labels), *options, "--folds", "2", "--json"]) == 1
        problems = [one["message"] for one in json.loads(capsys.readouterr().out)["problems"]]
        assert sum("that sums states" in message for message in problems) == 1
        encoder = ["--encoder", "test_efficientnet", "--patch-size", "64", "--out", str(tmp_path / "f")]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("lrmil.models.encoders.loading.load_encoder", lambda *_, **__: tiny_bundle().encoder)
            assert cli.main(["extract", str(slides), *encoder, *options, *CPU]) == 1
        assert sorted(path.name for path in (tmp_path / "f").glob("*.zarr")) == ["a.zarr", "c d.zarr"]

    def test_a_list_of_one_slide_says_nothing_of_the_files_of_another(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Two MRXS have files of the same names, each in its folder."""
        for name in ("A", "B"):
            pixels = make_slide("negative", seed=ord(name), size=1024).pixels[:512, :640]
            write_mrxs(tmp_path / f"{name}.mrxs", pixels)
        listed = [tmp_path / "A.mrxs", *(tmp_path / "A").iterdir()]
        lines = [f"{digest(file)}  {file.relative_to(tmp_path).as_posix()}\n" for file in listed]
        (tmp_path / "sums").write_text("".join(lines))
        options = ["--checksums", str(tmp_path / "sums"), "--json"]
        slides = [str(tmp_path / "A.mrxs"), str(tmp_path / "B.mrxs")]
        assert cli.main(["inspect", *slides, *options]) == 0
        said = capsys.readouterr().err
        assert said.startswith("sums ") and "'B'" in said and "'A'" not in said
        flip_bit(tmp_path / "A/Data0000.dat")
        assert cli.main(["inspect", *slides, *options]) == 1

    def test_slides_without_a_checksum_are_named_and_read(
        self, slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sums = write_list(tmp_path / "sums", slides / "a.tif")
        assert cli.main(["inspect", str(slides), "--checksums", str(sums), "--json"]) == 0
        said = capsys.readouterr().err
        assert said.startswith("sums ") and "'b', 'c d'" in said and "'a'" not in said

    def test_a_list_of_other_slides_is_refused(
        self, slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "sums").write_text(f"{'0' * 64}  other.svs\n")
        assert cli.main(["inspect", str(slides), "--checksums", str(tmp_path / "sums")]) == 1
        assert "Is it the right list?" in capsys.readouterr().err

    def test_every_file_of_a_slide_of_many_is_compared(self, tmp_path: Path) -> None:
        folder = tmp_path / "slide"
        folder.mkdir()
        for name in ("one.dcm", "two.dcm"):
            (folder / name).write_bytes(name.encode())
        sums = write_list(tmp_path / "sums", *folder.iterdir())
        stated = read_checksums(sums)
        checksums = tuple(one for file in sorted(folder.iterdir()) if (one := stated.of(file)))
        verify(checksums)
        flip_bit(folder / "two.dcm")
        with pytest.raises(SlideError, match=r"two\.dcm to have the sha256"):
            verify(checksums)

    def test_the_files_of_a_series_beside_a_dicom_file_are_compared_too(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """OpenSlide reads other levels from them, also where a file such as the list lies in the folder."""
        for name, series in {"1": b"1.2.34", "2": b"1.2.34", "3": b"9.9.99"}.items():
            head = SERIES_TAG + len(series).to_bytes(2, "little") + series
            (tmp_path / f"{name}.dcm").write_bytes(bytes(128) + b"DICM" + head + name.encode() * 4000)
        sums = write_list(tmp_path / "SHA256SUMS", *sorted(tmp_path.glob("*.dcm")))
        assert parts_of(tmp_path / "1.dcm") == [tmp_path / "1.dcm", tmp_path / "2.dcm"]
        before = fingerprint_of(tmp_path / "1.dcm")
        flip_bit(tmp_path / "2.dcm")
        assert fingerprint_of(tmp_path / "1.dcm") != before
        assert cli.main(["inspect", str(tmp_path / "1.dcm"), "--checksums", str(sums), "--json"]) == 1
        assert "Expected 2.dcm to have the sha256" in json.loads(capsys.readouterr().out)[0]["message"].replace(
            f"{tmp_path}/", ""
        )

    def test_a_file_that_vanished_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(SlideError, match="Cannot read "):
            verify([Checksum(tmp_path / "gone.svs", "0" * 64, "sums")])

    def test_pixels_differ_without_a_note_without_a_list(self, slides: Path) -> None:
        """What the list is for: the formats cannot tell."""
        with open_slide(slides / "a.tif") as slide:
            intact = slide.read_region((0, 0), (1024, 1024), 0.5)
        flip_bit(slides / "a.tif", 0.4)
        with open_slide(slides / "a.tif") as slide:
            assert (slide.read_region((0, 0), (1024, 1024), 0.5) != intact).sum() == 1
            assert not slide.notes
