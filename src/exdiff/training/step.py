"""One step: every part's loss and gradients, their mean over the processes, and the update."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.profiler import record_function

from exdiff.optimiser import grad_norm, gradients
from exdiff.training.batches import Part, mixed
from exdiff.training.options import Options
from exdiff.training.ranks import Ranks
from exdiff.training.state import State


def learn(state: State, parts: Sequence[Part], rate: float, options: Options, ranks: Ranks) -> dict[str, float]:
    """Improve the model on the parts that this process has of a batch; the losses of the whole batch.

    Losses are means over equal parts, so that the mean of the parts' gradients, here and over the processes, is the
    gradient of the whole batch. All processes then take the same step.
    """
    # Whatever draws without a generator, such as a foreign network's dropout, does so by the step and the process.
    torch.manual_seed(mixed(options.seed, state.step, 1 + ranks.rank))
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    losses = _gradients(state, parts, ranks)
    with record_function("average"):
        ranks.average([*gradients(state.model.parameters()), *losses.values()])
    with record_function("optimiser"):
        norm = grad_norm(state.model.parameters(), options.clip)
        if torch.isfinite(norm):  # one bad batch must not end a night's run
            if state.adversary is not None:
                with ranks.autocast():  # its messages come first: if a process is gone, nothing has changed yet
                    losses["adversary"] = state.adversary.learn()
            state.optimiser.step()
            state.ema.update_parameters(state.model)
        state.optimiser.zero_grad()
    state.step += 1
    values = torch.stack([*losses.values(), norm.to(losses["loss"])]).tolist()
    return dict(zip([*losses, "grad_norm"], values, strict=True))


def _gradients(state: State, parts: Sequence[Part], ranks: Ranks) -> dict[str, Tensor]:
    """Leave the gradient of the parts' mean loss in the parameters; the mean losses."""
    means: dict[str, Tensor] = {}
    for part in parts:
        with record_function("forward"), ranks.autocast():
            losses = state.model.loss(part.clean, part.mixture, part.generators, state.adversary)
        with record_function("backward"):
            (losses["loss"] / len(parts)).backward()
        for key, value in losses.items():
            share = value.detach().float() / len(parts)
            means[key] = means[key] + share if key in means else share
    return means
