"""From the heart's dipole to eight independent leads, and from those to the twelve of an ECG.

Eight leads are I, II, V1..V6; III, aVR, aVL and aVF follow from I and II by Einthoven's and Goldberger's identities.
"""

import numpy as np

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
LIMB = np.arange(8) < 2  # which of EIGHT
FILE_ORDER = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")  # MIMIC-IV-ECG: aVF before aVL

# Projection of a dipole (X left, Y down, Z back) on the eight leads. Source: Dower, J Electrocardiol 1 (1968).
PROJECTION = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)


def project(dipoles: np.ndarray) -> np.ndarray:
    """Project dipoles (W, 3) in mV on the eight leads, (8, W) mV."""
    return PROJECTION @ np.asarray(dipoles, dtype=np.float64).T


def rotate(dipoles: np.ndarray, frontal: float, horizontal: float) -> np.ndarray:
    """Rotate dipoles (W, 3) by angles in radians.

    Parameters
    ----------
    frontal : float
        Turns the frontal axis clockwise: from lead I (0 degrees) towards aVF (90 degrees).
    horizontal : float
        Turns leftward forces backward.
    """
    x, y, z = np.asarray(dipoles, dtype=np.float64).T
    x, y = x * np.cos(frontal) - y * np.sin(frontal), x * np.sin(frontal) + y * np.cos(frontal)
    x, z = x * np.cos(horizontal) - z * np.sin(horizontal), x * np.sin(horizontal) + z * np.cos(horizontal)
    return np.stack([x, y, z], axis=1)


def twelve_leads(eight: np.ndarray) -> np.ndarray:
    """Complete eight leads (8, ...) to twelve in MIMIC-IV-ECG's file order, (12, ...) of the same unit."""
    one, two = eight[0], eight[1]
    return np.stack([one, two, two - one, -(one + two) / 2, two - one / 2, one - two / 2, *eight[2:]])
