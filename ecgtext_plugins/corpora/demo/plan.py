"""Who is in the corpus: patients, their studies, names, times, and the records that are broken on purpose."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from ecgtext_plugins.corpora.demo.findings import Diagnosis, draw_diagnosis
from ecgtext_plugins.corpora.demo.patients import Patient, draw_patient

BREAKAGES = ("missing_signal_file", "missing_signal", "missing_lead", "empty_report")
_BROKEN_SHARE = 0.003  # of the records, each breakage
_ENOUGH_FOR_BROKEN = 500
# First words of the random streams, so that no two draw the same numbers.
_PLAN, _PATIENT, _STUDY, _RECORDING = range(4)


@dataclass(frozen=True)
class Study:
    """One record of the corpus before it is made; `index` counts from 0, `breakage` is one of BREAKAGES or empty."""

    index: int
    patient: int
    subject_id: int
    study_id: int
    time: datetime
    breakage: str

    @property
    def path(self) -> str:
        """The record's path below the corpus, without extension."""
        subject = f"p{self.subject_id}"
        return f"files/{subject[:5]}/{subject}/s{self.study_id}/{self.study_id}"


def plan_studies(records: int, seed: int) -> list[Study]:
    """Give `records` studies to patients with one to six each."""
    rng = np.random.default_rng([seed, _PLAN])
    counts = rng.choice(np.arange(1, 7), size=records, p=[0.36, 0.25, 0.16, 0.11, 0.07, 0.05])
    owner = np.repeat(np.arange(records), counts)[:records]
    subjects = 10_000_000 + np.sort(rng.choice(9_999_999, size=owner[-1] + 1, replace=False))
    studies = 40_000_000 + rng.choice(9_999_999, size=records, replace=False)
    breakages = _choose_broken(records, rng)
    result, time, last = [], datetime(2110, 1, 1), -1
    for index, patient in enumerate(owner.tolist()):
        if patient != last:
            time, last = datetime(2110, 1, 1) + timedelta(minutes=int(rng.integers(90 * 365 * 1440))), patient
        else:
            time += timedelta(minutes=int(rng.exponential(200) * 1440) + 7)
        result.append(
            Study(index, patient, int(subjects[patient]), int(studies[index]), time, breakages.get(index, ""))
        )
    return result


def _choose_broken(records: int, rng: np.random.Generator) -> dict[int, str]:
    if records < _ENOUGH_FOR_BROKEN:
        return {}
    each = max(2, round(_BROKEN_SHARE * records / len(BREAKAGES)))
    chosen = rng.choice(records, size=each * len(BREAKAGES), replace=False)
    return {int(index): BREAKAGES[place // each] for place, index in enumerate(chosen)}


def patient_of(study: Study, seed: int) -> Patient:
    """Draw the study's patient, always the same one."""
    return draw_patient(np.random.default_rng([seed, _PATIENT, study.patient]))


def diagnosis_of(study: Study, patient: Patient, seed: int) -> Diagnosis:
    """Draw the study's findings."""
    return draw_diagnosis(patient.tendency, np.random.default_rng([seed, _STUDY, study.index]))


def recording_stream(study: Study, seed: int) -> np.random.Generator:
    """Return the random numbers of the study's signal and report."""
    return np.random.default_rng([seed, _RECORDING, study.index])
