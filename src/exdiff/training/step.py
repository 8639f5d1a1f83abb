"""One training step: loss and gradients of every micro-batch, their mean over the processes, and the update."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.profiler import record_function

from exdiff.training.batches import MicroBatch, combined_seed
from exdiff.training.objective.gradients import clip_gradients, gradients
from exdiff.training.options import Options
from exdiff.training.state import State
from exdiff.training.world import World


def train_step(
    state: State, batch: Sequence[MicroBatch], learning_rate: float, options: Options, world: World
) -> dict[str, float]:
    """Update the model by one batch, of which this process has some micro-batches; returns the whole batch's losses.

    Losses are means over micro-batches of equal size, so the mean of their gradients, here and over the processes, is
    the gradient of the whole batch. All processes then make the same update.
    """
    # For whatever draws without a generator, such as dropout in a foreign network.
    torch.manual_seed(combined_seed(options.seed, state.step, 1 + world.rank))
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate
    losses = _accumulate_gradients(state, batch, world)
    with record_function("average"):
        world.average([*gradients(state.model.parameters()), *losses.values()])
    with record_function("optimiser"):
        norm = clip_gradients(state.model.parameters(), options.clip)
        if torch.isfinite(norm):  # one bad batch must not spoil a night's run
            if state.adversary is not None:
                with world.autocast():  # before the model: if a process is lost here, nothing has been updated yet
                    losses["adversary"] = state.adversary.step()
            state.optimiser.step()
            state.ema.update_parameters(state.model)
        state.optimiser.zero_grad()
    state.step += 1
    values = torch.stack([*losses.values(), norm.to(losses["loss"])]).tolist()
    return dict(zip([*losses, "grad_norm"], values, strict=True))


def _accumulate_gradients(state: State, batch: Sequence[MicroBatch], world: World) -> dict[str, Tensor]:
    """Add the gradient of the mean loss to the parameters' `grad`; returns the mean losses."""
    means: dict[str, Tensor] = {}
    for micro in batch:
        with record_function("forward"), world.autocast():
            losses = state.objective(micro.clean, micro.mixture, micro.generators, state.adversary)
        with record_function("backward"):
            (losses["loss"] / len(batch)).backward()
        for key, value in losses.items():
            share = value.detach().float() / len(batch)
            means[key] = means[key] + share if key in means else share
    return means
