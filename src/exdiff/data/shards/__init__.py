"""Shards: tar files of paired signals in the format of webdataset, for object stores and clusters.

`writer` makes them, `form` says what they look like and refuses what does not, `order` decides which sample comes when,
`access` fetches it from a disk or a stream, and `dataset` makes training examples of it.
"""

from __future__ import annotations

from exdiff.data.shards.dataset import Shards
from exdiff.data.shards.writer import Signals, read_signals, write_shards

__all__ = ["Shards", "Signals", "read_signals", "write_shards"]
