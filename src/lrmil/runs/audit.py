"""Audit a finished run by its own files: nothing of a test slide is in what it tests, and no file was changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lrmil.errors import RunError
from lrmil.io.documents import require_no_links
from lrmil.runs.audit_features import audit_features
from lrmil.runs.audit_files import Finding, Note, RunFiles, read_run_files, some
from lrmil.runs.audit_learning import audit_learning
from lrmil.runs.audit_model import audit_model
from lrmil.runs.audit_results import audit_results
from lrmil.runs.audit_settings import audit_settings
from lrmil.runs.audit_splits import audit_splits
from lrmil.runs.control import is_running


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found.

    Attributes
    ----------
    findings
        Every leak and every file that does not agree with the others; none if the run is sound.
    notes
        What could not be compared, in sentences.
    folds, artefacts, slides
        How many folds, artefacts and test slides were audited.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    folds: int
    artefacts: int
    slides: int

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def audit_run(run: str | Path, *, answers: bool = False) -> Audit:
    """Audit a finished run.

    The slides that each artefact names as its inputs are compared with splits.csv, keys with those of the artefacts and
    features that are there now, files with their hashes, and predictions, figures and model with what the folds give.
    Nothing is written, and no slide is opened.

    Parameters
    ----------
    run
        The run folder.
    answers
        Whether the networks of each fold are also asked again, for which the features of all its slides are read.

    Returns
    -------
    Audit
        The findings. Without `answers`, features are compared by their cards, not by their content.

    Raises
    ------
    FormatError
        If there is no finished run in the folder, or it contains links.
    RunError
        If a training is running in it.
    """
    run = Path(run)
    if is_running(run):
        raise RunError(f"A training is running in {run}. Audit the run when it has ended.")
    files = read_run_files(run)
    require_no_links(run)
    found: list[Finding | Note] = [
        *audit_splits(files),
        *(finding for fold in files.folds for finding in audit_learning(files, fold)),
        *audit_settings(files),
        *audit_features(files),
        *audit_results(files),
        *audit_model(files, answers=answers),
        *_notes(files),
    ]
    return Audit(
        findings=tuple(dict.fromkeys(one for one in found if isinstance(one, Finding))),
        notes=tuple(one.message for one in found if isinstance(one, Note)),
        folds=len(files.folds),
        artefacts=sum(len(of_fold) for of_fold in files.records.values()),
        slides=len({slide_id for fold in files.folds for slide_id in fold.test}),
    )


def _notes(files: RunFiles) -> Iterator[Note]:
    records = {f"{fold}/{name}": one for fold, of_fold in files.records.items() for name, one in of_fold.items()}
    unhashed = {where for where, record in records.items() if record.sha256 is None}
    if unhashed:
        yield Note(
            f"{len(unhashed)} of {len(records)} artefacts ({some(unhashed)}) are of an earlier version, which kept no "
            "hashes of their files: changes of those files are found only where they change an answer or a figure."
        )
