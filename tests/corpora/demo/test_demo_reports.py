"""The reports say what is so, in many words, and never something else."""

import re
from collections import Counter

import numpy as np

from ecgtext_plugins.corpora.demo.findings import FINDINGS
from ecgtext_plugins.corpora.demo.phrases import PHRASES
from ecgtext_plugins.corpora.demo.plan import diagnosis_of, patient_of, plan_studies, recording_stream
from ecgtext_plugins.corpora.demo.reports import MAX_LINES, write_report
from ecgtext_plugins.corpora.demo.synthesis import synthesize

# Words by which a reader tells each finding.
WORDS = {
    "sinus_rhythm": r"sinus rhythm",
    "sinus_bradycardia": r"sinus bradycardia",
    "sinus_tachycardia": r"sinus tachycardia",
    "atrial_fibrillation": r"atrial fibrillation",
    "first_degree_av_block": r"(1st|first) degree a-?v block|prolonged pr interval",
    "left_bundle_branch_block": r"left bundle.branch block|lbbb",
    "right_bundle_branch_block": r"right bundle.branch block|rbbb",
    "st_elevation": r"st (segment )?elevation",
    "st_depression": r"st (segment )?depression",
    "t_wave_inversion": r"t.wave inversion",
    "low_voltage": r"low (qrs )?voltage",
    "premature_ventricular_complexes": r"ventricular premature|pvc|premature ventricular",
}


def reports(count, seed=2):
    for study in plan_studies(count, seed):
        patient = patient_of(study, seed)
        diagnosis, rng = diagnosis_of(study, patient, seed), recording_stream(study, seed)
        yield diagnosis, patient, write_report(diagnosis, synthesize(diagnosis, patient, rng), patient.noise, rng)


def test_reports_name_the_findings_and_no_others():
    texts = Counter()
    for diagnosis, _, lines in reports(1500):
        text = " ".join(lines).lower()
        assert 1 <= len(lines) <= MAX_LINES and all(line == line.strip() and line for line in lines)
        assert tuple(name for name in FINDINGS if re.search(WORDS[name], text)) == diagnosis.findings, text
        assert re.search(WORDS[diagnosis.rhythm], lines[0].lower())
        if "normal ecg" in text.replace("abnormal ecg", "").replace("otherwise normal ecg", ""):
            assert diagnosis.normal
        if diagnosis.territory:
            assert diagnosis.territory in text
        texts[text] += 1
    (commonest, most), (_, second) = texts.most_common(2)
    assert commonest == "sinus rhythm normal ecg." and 0.1 < most / 1500 < 0.16
    assert second < 0.03 * 1500 and len(texts) > 500


def test_every_finding_has_enough_phrasings():
    assert set(PHRASES) == set(FINDINGS)
    for name, phrases in PHRASES.items():
        assert len(set(phrases)) >= 5, name
        for other in FINDINGS:
            for phrase in phrases:
                assert bool(re.search(WORDS[other], phrase.lower())) == (other == name), (phrase, other)


def test_quoted_numbers_are_the_signals():
    for diagnosis, patient, _ in list(reports(60)):
        recording = synthesize(diagnosis, patient, np.random.default_rng(0))
        for draw in range(10):
            text = " ".join(write_report(diagnosis, recording, 1.0, np.random.default_rng(draw))).lower()
            for number in re.findall(r"rate (?:of )?(\d+)", text):
                assert int(number) == round(diagnosis.rate)
            for number in re.findall(r"interval (\d+) ms", text):
                assert abs(int(number) - 1000 * recording.beats.pr) <= 1
            if "rapid ventricular" in text:
                assert diagnosis.rate > 100
