"""Physiological augmentation of 3KG: an ECG as the projection of a vectorcardiogram that is rotated and scaled.

Source: Gopal et al. 2021 (3KG); inverse Dower matrix of Edenbrandt and Pahlm 1988; the way back is its pseudo-inverse,
as in fairseq-signals.
"""

import numpy as np

MEASURED = np.array([0, 1, 6, 7, 8, 9, 10, 11])  # I, II, V1..V6: the other four leads follow from I and II
INVERSE_DOWER = np.array(
    [
        [0.156, -0.010, -0.172, -0.074, 0.122, 0.231, 0.239, 0.194],
        [-0.227, 0.887, 0.057, -0.019, -0.106, -0.022, 0.041, 0.048],
        [0.022, 0.102, -0.229, -0.310, -0.246, -0.063, 0.055, 0.108],
    ]
)  # (3, 8): leads MEASURED to X, Y, Z
DOWER = np.linalg.pinv(INVERSE_DOWER)  # (8, 3)


def rotation(angles: np.ndarray) -> np.ndarray:
    """Return the matrix (3, 3) that turns about z, then y, then x, each about a fixed axis (scipy's Euler angles zyx).

    Parameters
    ----------
    angles : ndarray, shape (3,)
        Radians about z, y and x.
    """
    (cz, cy, cx), (sz, sy, sx) = np.cos(angles), np.sin(angles)
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    return about_x @ about_y @ about_z


def moved(ecg: np.ndarray, angles: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Rotate and scale the vectorcardiogram of an ECG and project it back.

    Only what a vectorcardiogram explains of the ECG comes back; III, aVR, aVL and aVF follow from I and II.

    Parameters
    ----------
    ecg : ndarray, shape (12, T)
    angles : ndarray, shape (3,)
        Radians about z, y and x.
    scales : ndarray, shape (3,)
        Factors on X, Y and Z after the rotation.

    Returns
    -------
    ndarray, shape (12, T), float32
    """
    forth_and_back = DOWER @ (scales[:, None] * (rotation(angles) @ INVERSE_DOWER))
    out = np.empty(ecg.shape, dtype=np.float32)
    out[MEASURED] = forth_and_back.astype(np.float32) @ ecg[MEASURED].astype(np.float32)
    depend_on_limbs(out)
    return out


def depend_on_limbs(signal: np.ndarray) -> None:
    """Set III, aVR, aVL and aVF of `signal` (12, T) to what follows from I and II (Einthoven, Goldberger)."""
    one, two = signal[:2]
    signal[2], signal[3], signal[4], signal[5] = two - one, -(one + two) / 2, one - two / 2, two - one / 2
