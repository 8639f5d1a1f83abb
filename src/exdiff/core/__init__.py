"""What everything else stands on: errors, recipes as data, progress bars, and what this machine does fast."""
