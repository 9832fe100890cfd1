"""Optimizers for fairseq, one registered optimizer a file."""
