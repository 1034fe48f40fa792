"""The patches that stage 1 learns from, as many passes as it needs, and those that are held out."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

import torch
from torch import Tensor

from lrmil.configs import Stage1Config
from lrmil.errors import SlideError
from lrmil.training.fidelity import mean_of
from lrmil.training.pair_loading import SLIDES_TOGETHER, Chosen, PairedBatch, draw_patches, load_pairs
from lrmil.training.pair_memory import PairMemory
from lrmil.training.pairs import PairedSlide, RegionSamples


class PairedPatches:
    """The patches of a stage 1, with what was read of them.

    Parameters
    ----------
    train, val
        Slides to learn from, and slides whose patches are held out.
    config
        How many patches are drawn, and in which batches.
    seed
        Determines which patches are held out.
    threads
        Decoding threads.

    Raises
    ------
    SlideError
        If no training slide, or no validation slide, has an LR patch with a covered HR child.
    """

    def __init__(
        self, train: Sequence[PairedSlide], val: Sequence[PairedSlide], config: Stage1Config, seed: int, threads: int
    ) -> None:
        self.example = train[0]
        self._train, self._config, self._seed, self._threads = train, config, seed, threads
        self._memory = PairMemory()
        self._held = self._draw(val, config.validation_patches)
        if not any(map(self._memory.count, train)) or not any(len(item.rows) for item in self._held):
            raise SlideError(
                "The training slides or the validation slides have no LR patch with a covered HR patch. "
                "Lower min_tissue_hr, or check that the slides reach the HR resolution."
            )

    def training(self, generator: torch.Generator) -> Generator[PairedBatch, None, None]:
        """Yield batches of one pass over the training slides after the other, without an end.

        Raises
        ------
        SlideError
            If no patch can be read any more.
        """
        while True:
            read = 0
            chosen = draw_patches(self._train, self._config.patches_per_epoch, generator, count=self._memory.count)
            with closing(self._load(chosen, generator)) as batches:
                for batch in batches:
                    read += 1
                    yield batch
            if not read:
                raise SlideError("No LR patch of the training slides can be read. Check the slides, then rerun.")

    def held_out(self) -> Iterator[PairedBatch]:
        """Yield the validation patches, the same at each call."""
        return self._load(self._held, None)

    def first_samples(self) -> list[RegionSamples]:
        """Return the targets of some training slides."""
        return [self._memory.samples(slide) for slide in self._train[:SLIDES_TOGETHER]]

    def mean_target(self) -> Tensor:
        """Return the mean (d,) of the training targets; of a large cohort, of those of one pass."""
        return mean_of(targets for _, targets in self.start_and_targets())

    def start_and_targets(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (n_i, d_s) x_r and (n_i, d) mu_r of the training patches of a slide; of a large cohort, of one pass."""
        for item in self._draw(self._train, self._config.patches_per_epoch):
            samples = self._memory.samples(item.slide)
            yield samples.start[item.rows], samples.mean[item.rows]

    def _draw(self, slides: Sequence[PairedSlide], limit: int) -> list[Chosen]:
        return draw_patches(slides, limit, torch.Generator().manual_seed(self._seed), count=self._memory.count)

    def _load(self, chosen: Sequence[Chosen], generator: torch.Generator | None) -> Generator[PairedBatch, None, None]:
        size, threads = self._config.batch_size, self._threads
        return load_pairs(chosen, batch_size=size, threads=threads, generator=generator, memory=self._memory)
