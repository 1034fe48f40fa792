"""The encoders that a run starts from: the frozen one, and that of the student."""

from typing import NamedTuple

from lrmil.configs import TrainConfig
from lrmil.models.devices import on_device, pick_device
from lrmil.models.encoders.loading import Encoder, load_encoder
from lrmil.models.encoders.terms import EncoderTerms, describe_terms, terms_warning


class StartEncoders(NamedTuple):
    """The frozen encoder, and the one that the student starts from; they may be the same."""

    teacher: Encoder
    student: Encoder

    @property
    def terms(self) -> dict[str, EncoderTerms]:
        """Known terms of use of the weights, of the "teacher" and of the student's "start"."""
        encoders = {"teacher": self.teacher, "start": self.student}
        return {role: encoder.terms for role, encoder in encoders.items() if encoder.terms}

    @property
    def warning(self) -> str:
        """A warning if the terms of use may forbid this training, or ""."""
        terms = self.terms
        return terms_warning(**terms) if len(terms) == 2 else ""

    def warnings(self, *, with_teacher: bool) -> list[str]:
        """Return what whoever trains must know of the terms of use.

        Parameters
        ----------
        with_teacher
            Whether the model is to keep the frozen encoder.
        """
        found = [self.warning] if self.warning else []
        if with_teacher and (terms := self.teacher.terms) and not terms.random:
            found.append(
                f"The model is going to hold the weights of its teacher, {describe_terms(terms, 'teacher')}. Whoever "
                "passes it on passes them on."
            )
        return found


def load_encoders(config: TrainConfig) -> StartEncoders:
    """Load the two encoders.

    The student gets a projector if its embedding itself is to match a teacher of another dimension.

    Raises
    ------
    EncoderError, ConfigError
        As `load_encoder`.
    """

    def load(name: str, projected_dim: int = 0) -> Encoder:
        return load_encoder(
            name,
            size=config.patch_size,
            embedding=config.embedding,
            pretrained=config.pretrained,
            seed=config.seed,
            projected_dim=projected_dim,
            layers=config.stage1.layers,
        )

    teacher = on_device(load(config.encoder), pick_device("cpu"))  # in the memory layout that `PatchEncoder` needs
    if not config.has_own_start:
        return StartEncoders(teacher, teacher)
    student = on_device(load(config.student_encoder), pick_device("cpu"))
    if student.dim != teacher.dim and not config.stage1.lambda_keep:
        student = load(config.student_encoder, teacher.dim)
    return StartEncoders(teacher, student)
