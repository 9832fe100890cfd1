"""The files of one record (.hea and .dat, WFDB format 16) and its rows in the tables."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgtext_plugins.corpora.demo.leads import FILE_ORDER
from ecgtext_plugins.corpora.demo.plan import Study, diagnosis_of, patient_of, recording_stream
from ecgtext_plugins.corpora.demo.reports import MAX_LINES, write_report
from ecgtext_plugins.corpora.demo.synthesis import GAIN, RATE, SAMPLES, Recording, synthesize, to_counts

MISSING = -32768  # format 16's count of a sample that is not there
NOT_MEASURED = 29999  # how MIMIC-IV-ECG's machine_measurements say so


@dataclass(frozen=True)
class Rows:
    """A record's rows in record_list.csv, machine_measurements.csv and findings.csv."""

    listing: list[str]
    measurements: list[str]
    findings: list[str]


def make_record(study: Study, seed: int, folder: Path) -> Rows:
    """Write the record's files below `folder` and return its rows."""
    patient = patient_of(study, seed)
    diagnosis = diagnosis_of(study, patient, seed)
    rng = recording_stream(study, seed)
    recording = synthesize(diagnosis, patient, rng)
    lines = [] if study.breakage == "empty_report" else write_report(diagnosis, recording, patient.noise, rng)
    counts = to_counts(recording.clean + recording.noise)
    if study.breakage == "missing_signal":
        counts[:] = MISSING
    elif study.breakage == "missing_lead":
        counts[rng.integers(len(FILE_ORDER))] = MISSING
    path = folder / study.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if study.breakage == "missing_signal_file":
        path.with_suffix(".dat").unlink(missing_ok=True)
    else:
        path.with_suffix(".dat").write_bytes(counts.T.astype("<i2").tobytes())
    path.with_suffix(".hea").write_text(header_text(study, counts), encoding="ascii", newline="\n")
    return _rows(study, diagnosis.findings, recording, lines, rng)


def header_text(study: Study, counts: np.ndarray) -> str:
    """Write the header of counts (12, T): gain 200 per mV, initial values and 16-bit checksums."""
    lines = [f"{study.study_id} {len(FILE_ORDER)} {RATE} {SAMPLES} {study.time:%H:%M:%S} {study.time:%d/%m/%Y}"]
    totals = counts.sum(axis=1, dtype=np.int64).astype(np.int16)
    for lead, first, total in zip(FILE_ORDER, counts[:, 0].tolist(), totals.tolist(), strict=True):
        lines.append(f"{study.study_id}.dat 16 {GAIN}.0(0)/mV 16 0 {first} {total} 0 {lead}")
    return "\n".join([*lines, f"# <subject_id>: {study.subject_id}", ""])


def _rows(study: Study, findings: tuple[str, ...], recording: Recording, lines: list[str], rng) -> Rows:
    subject, number, time = str(study.subject_id), str(study.study_id), f"{study.time:%Y-%m-%d %H:%M:%S}"
    reports = lines + [""] * (MAX_LINES - len(lines))
    cart = str(6_848_296 + 1013 * (study.subject_id % 97))
    filtering = ("60 Hz notch Baseline filter", "<not specified>")[int(rng.random() < 0.2)]
    return Rows(
        listing=[subject, number, number, time, study.path],
        measurements=[subject, number, cart, time, *reports, "0.005-150 Hz", filtering, *_measured(recording)],
        findings=[number, ";".join(findings)],
    )


def _measured(recording: Recording) -> list[str]:
    """Return rr_interval, p_onset, p_end, qrs_onset, qrs_end, t_end (ms) and the axes of P, QRS, T (degrees)."""
    beats, (p_axis, qrs_axis, t_axis) = recording.beats, recording.axes
    inside = beats.anchors[(beats.anchors[:, 1] >= 0) & (beats.anchors[:, 1] < SAMPLES / RATE), 1]
    rr = 1000 * float(np.diff(inside).mean())
    onset = 1000 * beats.pr + 40 if beats.has_p.any() else 200.0  # of QRS, on the cart's median beat
    p_wave = (40.0, 150.0, float(p_axis)) if beats.has_p.any() else (NOT_MEASURED,) * 3
    ends = (onset, onset + 1000 * recording.width, onset + 1000 * beats.qt)
    return [f"{value:.0f}" for value in (rr, *p_wave[:2], *ends, p_wave[2], qrs_axis, t_axis)]
