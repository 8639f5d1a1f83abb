"""From bytes to samples: `probe.py` chooses a decoder by content, `integrity.py` checks what came out."""
