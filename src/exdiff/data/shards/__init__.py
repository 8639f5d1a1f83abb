"""Shards: tar files of paired signals in the format of webdataset, for object stores and clusters.

`sources` finds what to write, `writer` writes it, `form` defines the format and refuses anything else, `order` decides
which sample comes when, `access` fetches it from a disk or a stream, `dataset` turns it into training examples.
"""

from __future__ import annotations

from exdiff.data.shards.dataset import Shards
from exdiff.data.shards.sources import examples_of, find_source
from exdiff.data.shards.writer import Signals, read_signals, write_shards

__all__ = ["Shards", "Signals", "examples_of", "find_source", "read_signals", "write_shards"]
