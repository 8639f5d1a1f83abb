"""The order of samples: shuffled by the seed, within a bounded buffer, and computable for any index without a history.

Shards are dealt out to lanes. Each lane reads its shards one after another, pass after pass, in a new order each time,
and shuffles within blocks of `buffer` samples. Index i belongs to run i // run, and runs go to the lanes in turn. If
`run` is the batch size and `lanes` the number of ranks times that of loader processes, each process reads its shards
from beginning to end, which suits object stores. Training resumes at any index by arithmetic alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from exdiff.core.errors import DataError


@dataclass(frozen=True)
class Block:
    """A part of a lane that is shuffled as a unit: `size` samples from place `first` of pass number `turn`."""

    lane: int
    turn: int
    first: int
    size: int


class Order:
    """`order.locate(i)` -> (block, slot); `order.sample(block, slot)` -> (shard, sample in it).

    Args:
        counts: samples of each shard.
        seed: another seed gives another order.
        buffer: samples in a block.
        lanes, run: see the head of this module.

    Raises:
        DataError: fewer shards than lanes, or a number below 1.

    Example:
        >>> order = Order([3, 2], seed=0, buffer=4)
        >>> sorted(order.sample(*order.locate(i)) for i in range(5))
        [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    """

    def __init__(self, counts: Sequence[int], *, seed: int, buffer: int, lanes: int = 1, run: int = 1) -> None:
        for name, value in (("buffer", buffer), ("lanes", lanes), ("run", run)):
            if value < 1:
                raise DataError(f"{name} must be 1 or more, got {value}")
        if lanes > len(counts):
            raise DataError(f"{lanes} lanes need at least as many shards, got {len(counts)}; make smaller shards")
        self.counts, self.seed, self.buffer, self.run = counts, seed, buffer, run
        dealt = np.random.default_rng((seed, len(counts))).permutation(len(counts))
        self.lanes = [dealt[lane::lanes] for lane in range(lanes)]
        self.totals = [sum(counts[s] for s in lane) for lane in self.lanes]
        # Not methods: the cache would be shared by all orders, and keep them alive.
        self._turn = lru_cache(maxsize=2 * lanes)(self._make_turn)
        self._shuffle = lru_cache(maxsize=2 * lanes)(self._make_shuffle)

    def locate(self, index: int) -> tuple[Block, int]:
        """The block of example `index`, and its slot: the place in reading order within the block."""
        number, inside = divmod(index, self.run)
        lane = number % len(self.lanes)
        turn, place = divmod(number // len(self.lanes) * self.run + inside, self.totals[lane])
        first = place - place % self.buffer
        block = Block(lane, turn, first, min(self.buffer, self.totals[lane] - first))
        return block, int(self._shuffle(block)[place - first])

    def sample(self, block: Block, slot: int) -> tuple[int, int]:
        """(shard, sample) at a slot of a block."""
        shards, ends = self._turn(block.lane, block.turn)
        place = block.first + slot
        number = bisect_right(ends, place)
        return shards[number], place - (ends[number - 1] if number else 0)

    def sequence(self, block: Block) -> list[int]:
        """The shards of the pass that the block belongs to, in reading order."""
        return self._turn(block.lane, block.turn)[0]

    def _make_turn(self, lane: int, turn: int) -> tuple[list[int], list[int]]:
        shards = np.random.default_rng((self.seed, lane, turn)).permutation(self.lanes[lane]).tolist()
        return shards, np.cumsum([self.counts[s] for s in shards]).tolist()

    def _make_shuffle(self, block: Block) -> np.ndarray:
        return np.random.default_rng((self.seed, block.lane, block.turn, block.first)).permutation(block.size)

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_turn", "_shuffle")}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._turn = lru_cache(maxsize=2 * len(self.lanes))(self._make_turn)
        self._shuffle = lru_cache(maxsize=2 * len(self.lanes))(self._make_shuffle)
