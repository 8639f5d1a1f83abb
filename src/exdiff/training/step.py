"""One training step: loss and gradients of every micro-batch, their mean over the processes, and the update.

Nothing in it reads a value back from the device, so that on a GPU the host is always ahead: what depends on values,
such as leaving out a bad batch, is decided on the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.profiler import record_function

from exdiff.training.batches import MicroBatch, combined_seed
from exdiff.training.objective.gradients import clip, join_gradients
from exdiff.training.options import Options
from exdiff.training.state import State
from exdiff.training.world import World


def train_step(
    state: State, batch: Sequence[MicroBatch], learning_rate: float, options: Options, world: World
) -> dict[str, Tensor]:
    """Update the model by one batch, of which this process has some micro-batches; returns the whole batch's losses.

    Losses are means over micro-batches of equal size, so the mean of their gradients, here and over the processes, is
    the gradient of the whole batch. All processes then make the same update.
    """
    # For whatever draws without a generator, such as dropout in a foreign network.
    torch.manual_seed(combined_seed(options.seed, state.step, 1 + world.rank))
    if state.adversary is not None:
        state.adversary.teaches = state.step >= state.adversary.first_step
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate
    losses = _accumulate_gradients(state, batch, world)
    with record_function("average"):
        gradient = join_gradients(state.model.parameters())
        world.average([gradient, *losses.values()])
    with record_function("optimiser"):
        norm = clip(gradient, options.clip)
        finite = norm.isfinite()  # one bad batch must not spoil a night's run
        if state.adversary is not None:
            with world.autocast():  # before the model: if a process is lost here, nothing has been updated yet
                losses["adversary"] = state.adversary.step(finite)
        state.optimiser.step(finite)
        _update_average(state, options.ema, finite)
        state.optimiser.zero_grad()
    state.step += 1
    return losses | {"grad_norm": norm}


def _accumulate_gradients(state: State, batch: Sequence[MicroBatch], world: World) -> dict[str, Tensor]:
    """Add the gradient of the mean loss to the parameters' `grad`; returns the mean losses."""
    means: dict[str, Tensor] = {}
    for micro in batch:
        with record_function("forward"), world.autocast():
            losses = state.objective(micro.clean, micro.mixture, micro.noise, state.adversary)
        with record_function("backward"):
            (losses["loss"] / len(batch)).backward()
        for key, value in losses.items():
            share = value.detach().float() / len(batch)
            means[key] = means[key] + share if key in means else share
    return means


@torch.no_grad()
def _update_average(state: State, decay: float, finite: Tensor) -> None:
    """Move the averaged weights towards the model's; buffers are copied. torch's own update reads from the device.

    Where `finite` is false, the model gets back its buffers of the step before: a batch norm's running averages have
    seen the bad batch already.

    The average begins short and grows with the run: one of 0.999 would hold a third of the first weights after
    1,000 steps.
    """
    averaged, model = state.ema.module, state.model
    weight = max(1 - decay, 10 / (10 + state.step))
    torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), weight)  # type: ignore[attr-defined]
    for kept, buffer in zip(averaged.buffers(), model.buffers(), strict=True):
        buffer.copy_(kept.copy_(torch.where(finite, buffer, kept)))
    state.ema.n_averaged += 1
