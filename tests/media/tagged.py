"""Half a second of sound in a file of any container, with metadata."""

import numpy as np

from exdiff.audio.codecs import CODECS, CONTAINERS
from exdiff.audio.targets import Target
from exdiff.audio.writing.writer import AudioWriter

NOISE = 0.1 * np.random.default_rng(0).standard_normal((2, 24000)).astype(np.float32)


def target(container, codec=None, suffix=None):
    codec = codec or CONTAINERS[container].codecs[0]
    bits = CODECS[codec].bits[:1] or (0,)
    return Target(container, codec, suffix or f".{CONTAINERS[container].suffixes[0]}", *bits, None, 48000, ("FL", "FR"))


def write(path, metadata, wanted):
    with AudioWriter(path, 48000, 2, target=wanted, metadata=metadata) as writer:
        writer.write(NOISE)
    return writer.notes
