"""What `exdiff batch` is made of: storage, the plan, a worker, attempts, and Ray; the work itself is `enhancing/`."""
