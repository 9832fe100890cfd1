"""Machine reports of the demo corpus: the lines report_0, report_1, ... of a study."""

from collections.abc import Sequence

import numpy as np

from ecgtext_plugins.corpora.demo.findings import Diagnosis
from ecgtext_plugins.corpora.demo.phrases import (
    ATRIAL_EXTRAS,
    LAST_ABNORMAL,
    LAST_NORMAL,
    LAST_RHYTHM_ONLY,
    NOISE_EXTRAS,
    NORMAL,
    PHRASES,
)
from ecgtext_plugins.corpora.demo.synthesis import Recording

MAX_LINES = 18  # report_0 .. report_17
_IDENTICAL = 0.77  # of the normal records


def write_report(diagnosis: Diagnosis, recording: Recording, noise: float, rng: np.random.Generator) -> list[str]:
    """Phrase the findings.

    Parameters
    ----------
    noise : float
        Relative noise of the patient's recordings; loud ones may be remarked on.

    Returns
    -------
    list of str
        The rhythm first, other findings in any order, possibly a remark, a verdict (rarely none).
    """
    deviation = _axis_deviation(recording)
    unremarkable = diagnosis.normal and not deviation
    if unremarkable and rng.random() < _IDENTICAL:
        return list(NORMAL)
    rhythm, *others = diagnosis.findings
    words = _words(diagnosis, recording)
    lines = [_phrase(others[place], words, rng) for place in rng.permutation(len(others))]
    lines.sort(key=lambda line: not line.startswith("with "))  # "with ..." follows the rhythm
    lines.insert(0, _phrase(rhythm, words, rng))
    lines += _remarks(diagnosis, recording, noise, rng)
    if unremarkable:
        last = LAST_NORMAL
    elif others or rhythm == "atrial_fibrillation":
        last = LAST_ABNORMAL
    else:
        last = LAST_RHYTHM_ONLY
    verdict = last[rng.integers(len(last))]
    lines += [verdict] if verdict else []
    return [line.upper() for line in lines] if rng.random() < 0.06 else lines


def _words(diagnosis: Diagnosis, recording: Recording) -> dict[str, str]:
    rate, territory = diagnosis.rate, diagnosis.territory or ""
    return {
        "rate": f"{rate:.0f}",
        "response": "rapid" if rate > 100 else "slow" if rate < 60 else "controlled",
        "pr": f"{1000 * recording.beats.pr:.0f}",
        "territory": territory,
        "Territory": territory.capitalize(),
    }


def _phrase(finding: str, words: dict[str, str], rng: np.random.Generator) -> str:
    choice: Sequence[str] = PHRASES[finding]
    return choice[int(len(choice) * rng.random() ** 1.3)].format(**words)  # the first ones are commoner


def _axis_deviation(recording: Recording) -> str:
    """Return the statement on the frontal axis of the QRS, empty where it is ordinary."""
    axis = recording.axes[1]
    return "Left axis deviation" if -90 <= axis < -30 else "Right axis deviation" if 95 < axis <= 180 else ""


def _remarks(diagnosis: Diagnosis, recording: Recording, noise: float, rng: np.random.Generator) -> list[str]:
    """Return statements that are no findings: the true axis, the atria, the recording's quality."""
    remarks = []
    deviation = _axis_deviation(recording)
    if deviation and diagnosis.waveform != "low_voltage" and (diagnosis.normal or rng.random() < 0.5):
        remarks.append(deviation)
    if diagnosis.rhythm != "atrial_fibrillation" and not diagnosis.normal and rng.random() < 0.05:
        remarks.append(ATRIAL_EXTRAS[rng.integers(len(ATRIAL_EXTRAS))])
    if noise > 1.7 and rng.random() < 0.3:
        remarks.append(NOISE_EXTRAS[rng.integers(len(NOISE_EXTRAS))])
    return remarks
