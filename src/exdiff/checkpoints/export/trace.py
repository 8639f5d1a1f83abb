"""From a graph to the content of an ONNX file."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from exdiff.checkpoints.export.graphs import Graph, Whole
from exdiff.core.errors import CheckpointError, ConfigError

OPSET = 17  # the first with layer norm
_SECONDS = 0.6
_HALVED_FROM = 1024  # numbers: smaller tensors are not worth a node


def traced(graph: Graph, details: Mapping[str, Any]) -> bytes:
    """The graph as an ONNX file.

    Args:
        graph: on the CPU, in float32 and evaluation mode.
        details: metadata beside those of the model.

    Raises:
        CheckpointError: something in it cannot be exported.
        ConfigError: the package onnx is missing.
    """
    try:
        import onnx
    except ImportError:
        raise ConfigError("an ONNX file needs onnx and onnxruntime: pip install 'exdiff[export]'") from None
    shapes = _shapes(graph)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "graph.onnx")
        try:
            graph.real = True
            _trace(graph, shapes, file)
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            message = f"this model cannot be exported: no ONNX graph of its {graph.name} ({reason})"
            raise CheckpointError(message) from error
        finally:
            graph.real = False
        proto = onnx.load(file)
    for output in proto.graph.output:  # whose sizes the exporter does not always find out
        kind = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, shapes[output.name])
        output.type.CopyFrom(kind)
    _halve(proto)
    onnx.helper.set_model_props(proto, _metadata(graph, details))
    return proto.SerializeToString()


def _trace(graph: Graph, shapes: Mapping[str, Sequence[int | str]], file: str) -> None:
    silent = mock.patch.object(torch._C, "_jit_onnx_log", create=True)  # when it fails, torch prints the whole graph
    with warnings.catch_warnings(), torch.enable_grad(), silent:  # without gradients some networks write in place
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            graph.example(graph.signal(_SECONDS)),
            file,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={n: {i: s for i, s in enumerate(sizes) if isinstance(s, str)} for n, sizes in shapes.items()},
            opset_version=OPSET,
            do_constant_folding=False,  # which would store matrices that can be computed
            dynamo=False,  # the newer exporter needs a further package and minutes, and rounds some sizes wrongly
        )


def _shapes(graph: Graph) -> dict[str, list[int | str]]:
    """Of all tensors. An axis that grows with the signal has a name: samples, frames, or one of its own."""
    with torch.no_grad():
        signal = graph.signal(_SECONDS)
        short, long = (graph.example(x) for x in (signal, graph.signal(2 * _SECONDS)))
        pairs = zip((*short, *graph(*short)), (*long, *graph(*long)), strict=True)
        known = {signal.shape[-1]: "samples", graph.model.spectrum(signal[None]).shape[-1]: "frames"}
    found: dict[str, list[int | str]] = {}
    for name, pair in zip((*graph.inputs, *graph.outputs), pairs, strict=True):
        sizes = zip(*(tensor.shape for tensor in pair), strict=True)
        found[name] = [a if a == b else known.get(a, f"{name}_{axis}") for axis, (a, b) in enumerate(sizes)]
    return found


def _halve(proto: Any) -> None:
    """Store what float16 holds exactly, as most published weights, in it; runtimes convert it once, on loading."""
    import onnx

    casts = []
    for tensor in proto.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.size < _HALVED_FROM:
            continue
        with np.errstate(over="ignore"):
            half = value.astype(np.float16)
        if np.array_equal(half.astype(np.float32), value):
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _metadata(graph: Graph, details: Mapping[str, Any]) -> dict[str, str]:
    """What a program needs to run the file, as text or JSON."""
    model, recipe = graph.model, graph.recipe
    values = {
        "model": recipe.name,
        "part": graph.name,
        "description": recipe.description,
        "licence": recipe.licence,
        "sample_rate": model.sample_rate,
        "channels": model.channels,
        "transform": recipe.transform,
        **details,
    }
    if model.path is not None:
        values |= {"path": recipe.path, "sampler": recipe.sampler, "anchor": model.anchor}
    if isinstance(graph, Whole):
        values |= {"steps": graph.steps, "draws": graph.draws}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
