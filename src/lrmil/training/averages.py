"""The moving average of the weights of a module in training, and its weights for the time of a validation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lrmil.training.checkpoint import Weights


def moving_average(module: nn.Module, decay: float) -> AveragedModel | None:
    """Return the average of a module's weights and buffers, which follows them closely at first; None if decay is 0.

    Parameters
    ----------
    module
        The module in training.
    decay
        Highest decay per step.
    """
    return AveragedModel(module, multi_avg_fn=_update_of(decay), use_buffers=True) if decay else None


@contextmanager
def averaged_weights(module: nn.Module, average: AveragedModel | None) -> Iterator[None]:
    """Give a module its averaged weights, if there are any, and its own at the end."""
    if average is None:
        yield
        return
    now = weights_of(module)
    module.load_state_dict(average.module.state_dict())
    try:
        yield
    finally:
        module.load_state_dict(now)


def weights_of(module: nn.Module) -> Weights:
    """Return a copy of the weights and buffers of a module."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _update_of(decay: float) -> Callable[..., None]:
    """Return the update of an average, whose decay is low at first, since the weights are then far from their end."""

    def update(average: Sequence[Tensor], now: Sequence[Tensor], count: Tensor | int) -> None:
        early = (1 + int(count)) / (10 + int(count))  # as tf.train.ExponentialMovingAverage
        get_ema_multi_avg_fn(min(decay, early))(average, now, count)  # type: ignore[no-untyped-call]

    return update
