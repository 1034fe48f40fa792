"""One process at a time writes into a folder, and none is kept out by one that is gone."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
import torch

from lrmil import cli
from lrmil.errors import FormatError, OutputError, RunError
from lrmil.features import extraction
from lrmil.features.extraction import extract_features
from lrmil.io import locks
from lrmil.io.locks import LOCK, output_lock
from lrmil.models.bundle import save_bundle
from lrmil.models.encoders.loading import PatchEncoder, encoder_hash
from lrmil.patches.plan import PatchPlan
from lrmil.prediction import batch_outputs
from lrmil.runs.control import is_running, run_lock
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, last
from support.runs import tiny_bundle, tiny_encoder

HOLDER = """
import sys, time
from pathlib import Path
from lrmil.io.locks import output_lock
with output_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of ``tmp_path / "out"``."""
    (tmp_path / "out").mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "out"], stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout and held.stdout.readline() == "held\n"
        yield held
        held.kill()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SHARD_PATIENCE", 0.1)
    lock = locks.output_lock
    for module in (batch_outputs, extraction):
        monkeypatch.setattr(module, "output_lock", partial(lock, patience=0.1))


def test_another_process_is_kept_out_until_it_is_killed(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(RunError, match="writing into the output folder"), output_lock(tmp_path / "out", patience=0.1):
        pass
    holder.kill()  # SIGKILL: it can clear nothing up
    holder.wait()
    with output_lock(tmp_path / "out", patience=0.1):
        pass


def test_a_lock_file_of_before_a_reboot_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("4711 some-machine")
    with output_lock(tmp_path, patience=0.1):
        pass


@pytest.mark.parametrize("lock", [output_lock, run_lock])
def test_a_file_system_without_locks_is_warned_of(
    lock: Callable[[Path], AbstractContextManager[None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def no_locks(self: object, **options: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock; use SoftFileLock instead")

    monkeypatch.setattr(locks.FileLock, "acquire", no_locks)
    with lock(tmp_path):
        assert not is_running(tmp_path)
    assert "without locks" in caplog.text


@pytest.mark.parametrize("lock", [output_lock, run_lock])
def test_a_folder_that_may_not_be_written(
    lock: Callable[[Path], AbstractContextManager[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(locks.FileLock, "acquire", refused)
    with pytest.raises(OutputError, match="Permission denied"), lock(tmp_path):
        pass


def test_predict_and_extract_are_one_sentence_where_another_is_at_work(
    tmp_path: Path, holder: subprocess.Popen[str], cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / ".half.tmp").write_text("what the other is writing")
    slide, out = str(cohort / "slides/demo-000.ome.tif"), str(tmp_path / "out")
    save_bundle(tmp_path / "model", tiny_bundle())
    cpu = ["--device", "cpu"]
    assert cli.main(["predict", slide, "--model", str(tmp_path / "model"), "--out", out, *cpu]) == 1
    assert "Another process is writing" in capsys.readouterr().err
    with pytest.raises(RunError, match="choose another folder"):
        last(extraction_into(tmp_path / "out", cohort)())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".half.tmp", LOCK]


def extraction_into(out: Path, cohort: Path) -> Callable[[], Iterator[Step[list[extraction.Extracted]]]]:
    encoder = tiny_encoder()
    sources = [SlideSource("demo-000", cohort / "slides/demo-000.ome.tif")]
    patch_encoder = PatchEncoder(encoder, torch.device("cpu"), batch_size=8)
    return lambda: extract_features(sources, patch_encoder, encoder_hash(encoder), out, PatchPlan(2.0, 64))


def test_closing_an_extraction_frees_its_folder(tmp_path: Path, cohort: Path) -> None:
    start = extraction_into(tmp_path / "out", cohort)
    steps = start()
    next(steps)
    with pytest.raises(RunError):
        next(start())
    steps.close()  # type: ignore[attr-defined]
    (outcome,) = last(start())
    assert outcome.path is not None


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_lock_that_leads_elsewhere_is_not_opened(tmp_path: Path, kind: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    out = tmp_path / "out"
    out.mkdir()
    if kind == "link":
        (out / LOCK).symlink_to(theirs)
    else:
        os.mkfifo(out / LOCK)
    with pytest.raises(FormatError, match=r"link|not a plain file"), output_lock(out):
        pass
    assert theirs.read_text() == "theirs"


def test_shards_share_a_folder_that_nothing_else_writes_meanwhile(tmp_path: Path) -> None:
    left = tmp_path / f".a.json.lrmil-{'0' * 16}.tmp"
    left.touch()
    with output_lock(tmp_path, shard="1-of-2"), output_lock(tmp_path, shard="2-of-2"):
        for shard in ("1-of-2", ""):
            with pytest.raises(RunError, match="writing into the"), output_lock(tmp_path, shard=shard, patience=0.1):
                pass
        assert left.exists(), "another shard may be writing it"
    with output_lock(tmp_path, patience=0.1):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
        with pytest.raises(RunError, match="writing into the output folder"), output_lock(tmp_path, shard="1-of-2"):
            pass
    with output_lock(tmp_path, shard="1-of-2", patience=0.1):
        pass
