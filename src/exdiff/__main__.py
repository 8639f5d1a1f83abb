"""`python -m exdiff` is the command `exdiff`."""

from exdiff.cli import main

if __name__ == "__main__":
    main()
