"""Count the parameters in ONNX files, also inside a .tar.gz."""

from __future__ import annotations

import importlib
import math
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path


def parameters(paths: Sequence[Path]) -> int:
    """Number of parameters: floating-point or 8-bit initialisers and constants, except single numbers."""
    onnx = importlib.import_module("onnx")
    kinds = {getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "DOUBLE", "INT8", "UINT8")}
    graphs = [onnx.load_from_string(content).graph for path in paths for content in _models(path)]
    tensors = [tensor for graph in graphs for tensor in graph.initializer]
    tensors += [
        entry.t for graph in graphs for node in graph.node if node.op_type == "Constant" for entry in node.attribute
    ]
    sizes = [math.prod(tensor.dims) for tensor in tensors if tensor.data_type in kinds]
    return sum(size for size in sizes if size > 1)


def _models(path: Path) -> Iterator[bytes]:
    if not path.name.endswith(".tar.gz"):
        yield path.read_bytes()
        return
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".onnx") else None
            if file is not None:
                yield file.read()
