"""The waves of a premature ventricular beat: wide, large, unlike the others, T opposite to QRS, no P."""

import numpy as np

from ecgtext_plugins.corpora.demo.leads import project
from ecgtext_plugins.corpora.demo.patients import Patient
from ecgtext_plugins.corpora.demo.rhythm import QRS, T
from ecgtext_plugins.corpora.demo.waves import Waves, join_waves, make_waves


def premature_beat(patient: Patient, shrink: float, rng: np.random.Generator) -> tuple[Waves, float]:
    """Make the waves of the patient's premature beats.

    Parameters
    ----------
    shrink : float
        1, or less where the voltage is low.

    Returns
    -------
    (waves, width) : tuple of Waves, float
        The width of the QRS is in seconds.
    """
    width = rng.uniform(0.15, 0.18)
    turn = np.cross(patient.ectopic, rng.standard_normal(3))
    size = rng.uniform(1.25, 1.6) * shrink
    dipoles = size * np.stack(
        [0.75 * patient.ectopic + 0.15 * turn, patient.ectopic, 0.35 * patient.ectopic - 0.12 * turn]
    )
    timing = [
        (place * width, 0.0, spread * width, spread * width)
        for place, spread in ((0.27, 0.11), (0.5, 0.14), (0.75, 0.11))
    ]
    qrs = make_waves(project(dipoles) * patient.lead_gain[:, None], QRS, timing)
    leads = project(-0.42 * size * patient.ectopic[None])
    return join_waves([qrs, make_waves(leads, T, [(0.0, 0.0, 0.07, 0.05)])]), width
