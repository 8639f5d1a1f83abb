"""How an example is mixed: voices, interference, rooms, recording, and the stems of songs."""
