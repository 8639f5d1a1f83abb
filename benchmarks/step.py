"""What a training step asks of a GPU and of its host, counted without a GPU.

    python benchmarks/step.py --recipe speech

One step of a recipe runs on tensors without values (the device "meta"), and every operator that a GPU would launch is
counted, by phase: their number, the bytes of their results, and the milliseconds of processor time that the host needs.
The milliseconds only compare two versions on one machine: PyTorch needs longer to compute without values than to launch
a kernel. LSTMs count as one product, since a GPU computes one in a single call. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from exdiff.checkpoints import build_model
from exdiff.core.recipe import Recipe
from exdiff.data.datasets import Synthetic
from exdiff.training import Options, setup, step
from exdiff.training.batches import Batches
from exdiff.training.state import State
from exdiff.training.world import World

FREE = ("_unsafe_view", "detach", "alias", "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")
PHASES = ("data", "forward", "backward", "average", "optimiser")


class Counting(TorchDispatchMode):
    """Counts operators and the bytes of their results by phase; views cost nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = ""
        self.launches: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func.overloadpacket.__name__ not in FREE:
            self.launches[self.phase] += 1
            self.names[func.overloadpacket.__name__] += 1
            made = result if isinstance(result, tuple | list) else [result]
            self.bytes[self.phase] += sum(t.numel() * t.element_size() for t in made if isinstance(t, Tensor))
        return result


class MetaWorld(World):
    """One process that computes with tensors without values."""

    def autocast(self) -> AbstractContextManager[object]:
        return nullcontext()


def one_product(lstm: torch.nn.LSTM, rows: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """In the place of torch's LSTM, which without values runs step by step."""
    weights = [getattr(lstm, f"weight_ih_l0{way}")[: lstm.hidden_size] for way in ("", "_reverse")]
    return torch.nn.functional.linear(rows, torch.cat(weights)), state


@contextmanager
def without_values() -> Iterator[None]:
    """Let a step run on the device "meta", which autocast does not know."""
    enabled, forward = torch.is_autocast_enabled, torch.nn.LSTM.forward
    torch.is_autocast_enabled = lambda device_type: device_type != "meta" and enabled(device_type)
    torch.nn.LSTM.forward = one_product  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.is_autocast_enabled, torch.nn.LSTM.forward = enabled, forward  # type: ignore[assignment]


@contextmanager
def phases(enter: Callable[[str], None], leave: Callable[[str], None]) -> Iterator[None]:
    """Call `enter` and `leave` around the phases of `train_step`, which are marked for torch's profiler."""

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        enter(name)
        yield
        leave(name)

    before, step.record_function = step.record_function, phase  # type: ignore[assignment]
    try:
        yield
    finally:
        step.record_function = before


def prepare(recipe: Recipe, device: torch.device) -> tuple[State, Batches, Options, World]:
    """A run that is about to begin."""
    options, world = Options.of(recipe.training), MetaWorld(device, torch.float32)
    source = Synthetic(
        segment_seconds=options.segment_seconds, sample_rate=recipe.sample_rate, channels=recipe.channels
    )
    state = setup._state_of(build_model(recipe), recipe, options, world)
    return state, Batches(source, options, 0, world), options, world


def count(recipe: Recipe, device: torch.device) -> Counting:
    """The operators of the third step; in the first, things are made that stay."""
    state, batches, options, world = prepare(recipe, device)
    counting = Counting()

    def enter(name: str) -> None:
        counting.phase = name

    for number in range(3):
        with phases(enter, lambda name: enter("")), counting if number == 2 else nullcontext():
            enter("data")
            batch = batches._make(number)
            enter("")
            step.train_step(state, batch, 1e-3, options, world)
    return counting


def host_seconds(recipe: Recipe, device: torch.device, rounds: int) -> dict[str, float]:
    """Median of the host's seconds in each phase."""
    state, batches, options, world = prepare(recipe, device)
    spent: dict[str, list[float]] = {name: [] for name in PHASES}
    began: dict[str, float] = {}

    def leave(name: str) -> None:
        spent[name].append(time.process_time() - began[name])

    def enter(name: str) -> None:
        began[name] = time.process_time()

    for number in range(rounds + 1):
        with phases(enter, leave):
            enter("data")
            batch = batches._make(number)
            leave("data")
            step.train_step(state, batch, 1e-3, options, world)
    return {name: median(times[1:]) for name, times in spent.items()}


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the recipe")
    parser.add_argument("--recipe", default="speech")
    parser.add_argument("--rounds", type=int, default=5, help="steps that are timed")
    parser.add_argument("--operators", type=int, default=0, help="also list this many of the most frequent")
    parser.add_argument("--device", default="meta")
    options = parser.parse_args()
    fixed = ["training.workers=0", "training.precision=fp32", "data={type: synthetic}"]
    recipe = Recipe.load(options.recipe, [*fixed, *options.overrides])
    device = torch.device(options.device)
    with without_values():
        counted, seconds = count(recipe, device), host_seconds(recipe, device, options.rounds)
    report(recipe, counted, seconds, options.operators)


def report(recipe: Recipe, counted: Counting, seconds: Mapping[str, float], operators: int) -> None:
    """Print the table."""
    options = Options.of(recipe.training)
    print(
        f"Recipe {recipe.name}, a step of {options.batch} x {options.segment_seconds:g} s; torch {torch.__version__}\n"
    )
    print("| phase | operators | MB written | host ms |")
    print("|---|---|---|---|")
    for name in PHASES:
        print(f"| {name} | {counted.launches[name]} | {counted.bytes[name] / 1e6:.1f} | {1000 * seconds[name]:.1f} |")
    total = sum(counted.launches.values()), sum(counted.bytes.values()), sum(seconds.values())
    print(f"| all | {total[0]} | {total[1] / 1e6:.1f} | {1000 * total[2]:.1f} |")
    for name, number in counted.names.most_common(operators):
        print(f"    {number:6d} {name}")


if __name__ == "__main__":
    main()
