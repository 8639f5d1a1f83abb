"""An ONNX model with internal tensors among its outputs, stepped through time if it has a state."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exdiff.core.config import nearest

Arrays = dict[str, np.ndarray]


def expose(file: str, names: Sequence[str]) -> bytes:
    """The model in `file`, serialised, with the tensors `names` among its outputs; the file itself is not changed.

    Raises:
        ValueError: the `onnx` package is missing, the file cannot be read, or there is no such tensor.
    """
    try:
        import onnx
    except ImportError:
        raise ValueError('ONNX extractors need the package onnx: pip install "exdiff[export]"') from None
    path = Path(os.path.expanduser(os.path.expandvars(file)))
    if not path.is_file():
        raise ValueError(f"the ONNX file {str(path)!r} does not exist")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's errors share no base that onnx exports
        raise ValueError(f"{path} is not a readable ONNX model: {' '.join(str(error).split())[:200]}") from error
    known = {name for node in model.graph.node for name in node.output if name}
    present = {output.name for output in model.graph.output}
    for name in names:
        if name not in known:
            raise ValueError(f"{path.name} has no tensor {name!r}{nearest(name, known)}")
        if name not in present:
            model.graph.output.append(onnx.ValueInfoProto(name=name))  # onnxruntime infers type and shape
    return model.SerializeToString()


class Graph:
    """An ONNX model that can be copied, and run over a time axis in one piece or in steps.

    Args:
        model: a serialised ONNX model.
        states: input -> output with its next value; they start as zeros.

    Raises:
        ValueError: an input of the states does not exist, or its shape is not fixed.
    """

    def __init__(self, model: bytes, states: Mapping[str, str]) -> None:
        self._model, self._states = model, dict(states)
        self._session: Any = None
        inputs = {i.name: i for i in self.session.get_inputs()}
        self._zeros: Arrays = {}
        for name in self._states:
            if name not in inputs:
                raise ValueError(f"the ONNX model has no input {name!r}{nearest(name, inputs)}")
            shape = inputs[name].shape
            if not all(isinstance(size, int) for size in shape):
                raise ValueError(f"the state {name!r} must have a fixed shape to begin as zeros, got {shape}")
            self._zeros[name] = np.zeros(shape, np.float32)

    @property
    def session(self) -> Any:
        """The onnxruntime session, created when first needed."""
        if self._session is None:
            import onnxruntime
            import torch

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])
        return self._session

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}  # a session cannot be copied, its model can

    def run(self, inputs: Mapping[str, tuple[np.ndarray, int]], step: int | None, outputs: Mapping[str, int]) -> Arrays:
        """Run on arrays, each with the index of its time axis: on all of it, or on `step` entries at a time.

        `outputs` maps the wanted tensors to the axis along which their steps are joined.
        """
        wanted = [*outputs, *self._states.values()]
        states, parts = dict(self._zeros), []
        size = next(value.shape[axis] for value, axis in inputs.values())
        for start in range(0, size, step or size):
            stop = start + (step or size)
            feeds = {
                name: np.ascontiguousarray(value[(slice(None),) * axis + (slice(start, stop),)])
                for name, (value, axis) in inputs.items()
            }
            found = self.session.run(wanted, {**feeds, **states})
            parts.append(found[: len(outputs)])
            states = dict(zip(states, found[len(outputs) :], strict=True))
        return {
            name: np.concatenate([part[i] for part in parts], axis) for i, (name, axis) in enumerate(outputs.items())
        }
