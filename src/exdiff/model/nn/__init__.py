"""Layers that several networks share, numerical precision, and the cost of a network."""
