"""Padded bags: what is padding is masked, and what a step keeps stays with its targets and in its order."""

from pathlib import Path

import pytest
import torch

from lrmil.features.store import read_features
from lrmil.training.bag_batches import keep_some, pad_bags
from lrmil.training.bags import BagStore
from support.bags import CPU, make_bags


def test_bags_are_padded_and_divided_by_size(tmp_path: Path) -> None:
    slides = make_bags(tmp_path)  # of 10 to 13 patches of 6 numbers
    (whole,) = pad_bags(slides, BagStore(CPU))
    assert whole.embeddings.shape == (9, 13, 6) and whole.log_mass is not None and whole.teacher_logits is not None
    batches = pad_bags(slides, BagStore(CPU), limit=160)  # two bags of 13 fit, and two of 12
    assert [len(batch.bags) for batch in batches] == [2, 2, 2, 2, 1]
    assert sorted(bag.slide_id for batch in batches for bag in batch.bags) == [bag.slide_id for bag in slides]
    for batch in (whole, *batches):
        for row, bag in enumerate(batch.bags):
            values = torch.from_numpy(read_features(bag.features).embeddings)
            mask = batch.mask[row]
            assert mask.tolist() == [place < len(values) for place in range(len(mask))]
            assert torch.equal(batch.embeddings[row][mask], values) and not batch.embeddings[row][~mask].any()
            assert batch.log_mass is not None and bag.log_mass is not None and batch.teacher_logits is not None
            assert batch.log_mass[row][mask].tolist() == bag.log_mass.tolist()
            assert batch.log_mass[row][~mask].isneginf().all()
            assert bag.teacher_logits is not None and batch.teacher_logits[row].tolist() == bag.teacher_logits.tolist()


def test_bags_without_targets_have_none(tmp_path: Path) -> None:
    (batch,) = pad_bags(make_bags(tmp_path, targets=False), BagStore(CPU))
    assert batch.log_mass is None and batch.teacher_logits is None
    assert keep_some(batch, 0.5, torch.Generator()).log_mass is None


@pytest.mark.parametrize("dropped", [0.3, 0.6, 0.99])
def test_kept_patches_stay_in_order_with_their_targets(tmp_path: Path, dropped: float) -> None:
    (batch,) = pad_bags(make_bags(tmp_path), BagStore(CPU))
    generator, seen = torch.Generator().manual_seed(0), [set[tuple[int, ...]]() for _ in batch.bags]
    for _ in range(20):
        kept = keep_some(batch, dropped, generator)
        assert kept.log_mass is not None and kept.teacher_logits is batch.teacher_logits and batch.log_mass is not None
        for row, size in enumerate(batch.mask.sum(1).tolist()):
            mask = kept.mask[row]
            assert int(mask.sum()) == max(1, round(size * (1 - dropped))) and mask[: int(mask.sum())].all()
            assert kept.log_mass[row][~mask].isneginf().all()
            found = [batch.embeddings[row].tolist().index(values) for values in kept.embeddings[row][mask].tolist()]
            assert found == sorted(set(found)) and max(found) < size
            assert torch.equal(kept.log_mass[row][mask], batch.log_mass[row][found])
            seen[row].add(tuple(found))
    assert all(len(drawn) > 3 for drawn in seen)
    assert dropped > 0.9 or set.union(*map(set, seen[0])) == set(range(13))


def test_nothing_is_left_out_without_dropout(tmp_path: Path) -> None:
    (batch,) = pad_bags(make_bags(tmp_path), BagStore(CPU))
    assert keep_some(batch, 0.0, torch.Generator()) is batch
