"""The system: `ExDiff` (exdiff.py), the families of parts it is made of, and the samplers of the reverse process."""
