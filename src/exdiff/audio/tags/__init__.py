"""What belongs to a sound: tags, covers, chapters and chunks, read from one file and written into another."""
