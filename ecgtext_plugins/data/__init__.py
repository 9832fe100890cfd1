"""Datasets and collation for torch; every random draw is a function of (seed, epoch, index)."""
