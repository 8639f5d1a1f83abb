"""Blocks of an exact size, whatever sizes a decoder gives, so that several signals can be read side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


def exact_blocks(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples [C, T] in blocks of `size`, the last one shorter.

    Example:
        >>> [block.shape[-1] for block in exact_blocks([np.zeros((2, 5)), np.zeros((2, 6))], 4)]
        [4, 4, 3]
    """
    ready: list[np.ndarray] = []
    have = 0
    for block in blocks:
        ready.append(block)
        have += block.shape[-1]
        if have < size:
            continue
        whole = np.concatenate(ready, axis=-1)
        for start in range(0, have - size + 1, size):
            yield whole[:, start : start + size]
        rest = whole[:, have - have % size :]
        ready, have = ([rest], rest.shape[-1]) if rest.shape[-1] else ([], 0)
    if ready:
        yield np.concatenate(ready, axis=-1)


def merge_short_tail(blocks: Iterable[np.ndarray], least: int) -> Iterator[np.ndarray]:
    """The same blocks, but a last one of fewer than `least` samples is joined to the one before.

    Example:
        >>> [block.shape[-1] for block in merge_short_tail([np.zeros((1, 4)), np.zeros((1, 4)), np.zeros((1, 1))], 2)]
        [4, 5]
    """
    held: np.ndarray | None = None
    for block in blocks:
        if held is not None and block.shape[-1] < least:
            held = np.concatenate([held, block], axis=-1)
            continue
        if held is not None:
            yield held
        held = block
    if held is not None:
        yield held
