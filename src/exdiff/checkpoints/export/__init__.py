"""Models as ONNX files, which run without PyTorch and without this package."""

from exdiff.checkpoints.export.write import Exported, export, paths

__all__ = ["Exported", "export", "paths"]
