"""From samples to bytes: `writer.py` is the open file, the sinks are its encoders."""
