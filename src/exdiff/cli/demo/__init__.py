"""`exdiff demo`: the web page. Nothing here is imported before the command runs, except `command.py`."""
