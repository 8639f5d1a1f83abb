"""The two stems that a song is separated into."""

STEMS = ("vocals", "accompaniment")
