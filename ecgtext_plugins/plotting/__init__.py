"""Matplotlib figures: ECG paper, curves, embedding maps. Figures are returned, never shown; pyplot is not used."""
