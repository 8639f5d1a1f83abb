"""Discriminative models that hear the mixture once: an estimate, and latents for the diffusion model."""

from exdiff.extractors.base import Extraction, Extractor
from exdiff.extractors.bridge import BridgedExtractor, Resampler
from exdiff.extractors.compact import CompactExtractor
from exdiff.extractors.module import ModuleExtractor
from exdiff.extractors.onnx import OnnxExtractor
from exdiff.extractors.resunet30 import ResUNet30Extractor
from exdiff.extractors.spleeter import SpleeterExtractor

EXTRACTORS = {
    "compact": CompactExtractor,
    "resunet30": ResUNet30Extractor,
    "spleeter": SpleeterExtractor,
    "module": ModuleExtractor,
    "onnx": OnnxExtractor,
}

__all__ = [
    "EXTRACTORS",
    "BridgedExtractor",
    "CompactExtractor",
    "Extraction",
    "Extractor",
    "ModuleExtractor",
    "OnnxExtractor",
    "ResUNet30Extractor",
    "Resampler",
    "SpleeterExtractor",
]
