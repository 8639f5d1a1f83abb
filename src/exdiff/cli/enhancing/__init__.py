"""What `exdiff enhance` is made of: options, the plan of a run, one file, many files, and the report."""
