"""Enhance a recording of any length with an exported model. It needs numpy, onnxruntime and soundfile, no PyTorch.

exdiff export speech speech.onnx
python enhance.py speech.onnx noisy.wav enhanced.wav
"""

import sys

import numpy as np
import onnxruntime
import soundfile

model, source, target = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
about = session.get_modelmeta().custom_metadata_map
rate, channels, length, hop = (int(about[key]) for key in ("sample_rate", "channels", "window_samples", "hop_samples"))
noisy, found = soundfile.read(source, dtype="float32", always_2d=True)
if found != rate:
    sys.exit(f"{source} has {found} Hz, the model takes {rate} Hz: resample it first")

# Windows overlap, and each is faded into the next.
rise = np.sin(np.pi / 2 * (np.arange(rate // 10) + 0.5) / (rate // 10)) ** 2
seam = (length - hop - len(rise)) // 2
enhanced = np.zeros_like(noisy.T)
groups = [[channel] for channel in range(noisy.shape[1])] if channels == 1 else [range(noisy.shape[1])]
for group in groups:
    signal = np.broadcast_to(noisy.T[group], (channels, len(noisy)))  # mono is given to a stereo model twice
    for start in range(0, max(1, len(noisy) - length + hop), hop):
        window = signal[:, start : start + length]
        result = np.asarray(session.run(["enhanced"], {"noisy": window})[0])
        weight = np.ones(window.shape[1], dtype=np.float32)
        if start > 0:
            weight[: seam + len(rise)] = np.concatenate([np.zeros(seam), rise])
        if start + length < len(noisy):
            weight[hop + seam :] = np.concatenate([rise[::-1], np.zeros(length - hop - seam - len(rise))])
        enhanced[group, start : start + length] += weight * (result if len(group) == channels else result.mean(0))
soundfile.write(target, enhanced.T, rate)
