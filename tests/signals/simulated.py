"""Recordings of the demo corpus as arrays, for the tests of measures."""

from functools import lru_cache

import numpy as np

from ecgtext_plugins.corpora.demo.leads import FILE_ORDER
from ecgtext_plugins.corpora.demo.plan import diagnosis_of, patient_of, plan_studies, recording_stream
from ecgtext_plugins.corpora.demo.synthesis import synthesize, to_counts
from ecgtext_plugins.signals.leads import LEADS

ORDER = [FILE_ORDER.index(lead) for lead in LEADS]


@lru_cache(maxsize=4)
def recordings(count, noisy=True, seed=3):
    """Return `count` recordings, (count, 12, 5000) float32 mV at 500 Hz in steps of 5 microvolt; not to be changed."""
    made = []
    for study in plan_studies(count, seed):
        patient = patient_of(study, seed)
        recording = synthesize(diagnosis_of(study, patient, seed), patient, recording_stream(study, seed))
        counts = to_counts(recording.clean + recording.noise * noisy)
        made.append((counts[ORDER] * 0.005).astype(np.float32))
    signals = np.stack(made)
    signals.flags.writeable = False
    return signals
