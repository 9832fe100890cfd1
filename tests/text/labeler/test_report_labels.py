"""Reports labelled by rules: what they say, to what degree, and what no rule knows."""

import itertools
import json
import subprocess
import sys

import pytest

from ecgtext_plugins.checkpoints.ecg_fm import MIMIC_LABELS
from ecgtext_plugins.corpora.demo import phrases as demo
from ecgtext_plugins.corpora.demo.findings import TERRITORIES
from ecgtext_plugins.corpora.report_text import clean_report
from ecgtext_plugins.text.labeler.report_labels import ReportLabeler, label_report
from tests.text.labeler.statements import table

TABLE = table()
WORDS = {"rate": "87", "response": "rapid", "pr": "232"}
EXPECTED = {
    "sinus_rhythm": {"Sinus rhythm"},
    "sinus_bradycardia": {"Sinus rhythm", "Bradycardia"},
    "sinus_tachycardia": {"Sinus rhythm", "Tachycardia"},
    "atrial_fibrillation": {"Atrial fibrillation"},
    "first_degree_av_block": {"Atrioventricular block", "1st degree atrioventricular block"},
    "left_bundle_branch_block": {"Left bundle branch block"},
    "right_bundle_branch_block": {"Right bundle branch block"},
    "st_elevation": set(),
    "st_depression": set(),
    "t_wave_inversion": set(),
    "low_voltage": set(),
    "premature_ventricular_complexes": {"Premature ventricular contraction"},
}


def said(text):
    return {label: certainty for label, certainty in label_report(text).labels.items() if certainty}


def test_table_is_long_enough():
    assert len(TABLE) >= 150 and len({text for text, _ in TABLE}) == len(TABLE)


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[text for text, _ in TABLE])
def test_statement(text, expected):
    assert said(text) == expected
    assert said(clean_report(text)) == expected  # as stores have it
    assert said(text.upper()) == expected


@pytest.mark.parametrize("text", [text for text, _ in TABLE])
def test_mentions_are_where_they_say(text):
    result = label_report(text)
    for mention in result.mentions:
        assert text[mention.start : mention.end] == mention.text and 0 <= mention.certainty <= 1
    assert result.unmatched == ()


def test_statements_apart_say_what_they_say_alone():
    """Joined by semicolons, two statements give the higher of their certainties, but for bifascicular blocks."""
    for (one, first), (other, second) in itertools.islice(itertools.combinations(TABLE, 2), 0, None, 37):
        joined = said(f"{one}; {other}")
        higher = {label: max(first.get(label, 0), second.get(label, 0)) for label in {**first, **second}}
        joined.pop("Bifascicular block", None)
        higher.pop("Bifascicular block", None)
        assert joined == higher, (one, other)


def test_labels_are_ecg_fms_in_order():
    assert tuple(label_report("").labels) == MIMIC_LABELS == ReportLabeler().labels
    assert set(label_report("").labels.values()) == {0.0}


def demo_statements():
    for finding, notations in demo.PHRASES.items():
        for notation in notations:
            for territory in TERRITORIES.get(finding, ("",)):
                yield finding, notation.format(**WORDS, territory=territory, Territory=territory.capitalize())


@pytest.mark.parametrize(("finding", "text"), list(demo_statements()))
def test_every_statement_of_the_demo_corpus(finding, text):
    result = label_report(clean_report(text))
    sure = {label for label, certainty in result.labels.items() if certainty > 0.5}
    assert result.unmatched == ()
    assert sure - ({"Tachycardia"} if "rapid" in text else set()) == (
        {"Infarction"} if "infarct, acute" in text else EXPECTED[finding]
    )


def test_remarks_of_the_demo_corpus():
    remarks = [*demo.NORMAL, *demo.LAST_NORMAL, *demo.LAST_RHYTHM_ONLY, *filter(None, demo.LAST_ABNORMAL)]
    for text in [*remarks, *demo.ATRIAL_EXTRAS, "Left axis deviation", "Right axis deviation"]:
        assert label_report(text).unmatched == () and set(said(text)) <= {"Sinus rhythm"}
    assert all(said(text) == {"Poor data quality": 1.0} for text in demo.NOISE_EXTRAS)


def test_unknown_text_is_listed():
    result = label_report("Sinus rhythm with frobnicated in V1 gizmos; Zyxw")
    assert result.unmatched == ("frobnicated in V1 gizmos", "Zyxw")
    assert result.labels["Sinus rhythm"] == 1


def test_rule_names_what_lowered():
    (mention,) = label_report("possible inferior infarct").mentions
    assert (mention.entity, mention.certainty, mention.rule) == ("Inferior infarction", 0.5, "possible (before)")
    compound = label_report("RBBB; LAFB").mentions[-1]
    assert compound.rule == "compound: Right bundle branch block + Left anterior fascicular block"
    assert compound.text == "RBBB; LAFB"


@pytest.mark.parametrize("text", ["", "   ", ";;;", "İİİ sinus rhythm", "\x00", "-" * 5000, "no " * 2000, "ß" * 50])
def test_odd_text_does_no_harm(text):
    assert len(label_report(text).labels) == 17


def test_same_in_another_process():
    texts = [text for text, _ in TABLE]
    code = (
        "import json, sys; from ecgtext_plugins.text.labeler.report_labels import label_report;"
        "print(json.dumps([list(label_report(text).labels.values()) for text in json.loads(sys.argv[1])]))"
    )
    answer = subprocess.run([sys.executable, "-c", code, json.dumps(texts)], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == [list(label_report(text).labels.values()) for text in texts]
