"""The way to the vectorcardiogram and back."""

import numpy as np
from scipy.spatial.transform import Rotation

from ecgtext_plugins.data.vectorcardiogram import DOWER, INVERSE_DOWER, MEASURED, moved, rotation


def test_rotation_is_scipys_zyx():
    angles = np.array([0.3, -0.7, 0.5])
    ours = rotation(angles)
    np.testing.assert_allclose(ours @ ours.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(ours, Rotation.from_euler("zyx", angles).as_matrix(), atol=1e-12)


def test_what_is_a_vectorcardiograms_projection_comes_back():
    heart = np.random.default_rng(0).standard_normal((3, 50))
    ecg = np.zeros((12, 50), dtype=np.float32)
    ecg[MEASURED] = DOWER @ heart
    still = moved(ecg, np.zeros(3), np.ones(3))
    np.testing.assert_allclose(still[MEASURED], ecg[MEASURED], atol=1e-4)
    np.testing.assert_allclose(still[2], still[1] - still[0], atol=1e-5)
    angles, scales = np.array([0.2, 0.1, -0.4]), np.array([1.1, 1.3, 1.5])
    out = moved(ecg, angles, scales)
    np.testing.assert_allclose(INVERSE_DOWER @ out[MEASURED], scales[:, None] * (rotation(angles) @ heart), atol=1e-4)
    np.testing.assert_allclose(out[3] + out[4] + out[5], 0, atol=1e-4)  # Goldberger's leads sum to 0
