"""Shipped prompts: which concept each dataset's code means, complete and unique; templates; digests."""

import dataclasses
import hashlib
import json
import re
from types import SimpleNamespace

import pytest

from ecgtext_plugins.corpora.snomed import scored_labels, snomed_codes
from ecgtext_plugins.errors import BadPrompts
from ecgtext_plugins.evaluation.benchmark import benchmark_names, load_benchmark, with_prompts, with_templates
from ecgtext_plugins.evaluation.prompts import (
    PROMPT_SETS,
    concepts_of,
    framed,
    load_templates,
    prompt_notes,
    prompts_sha256,
    read_prompts,
    read_yaml,
    shipped_prompts,
)
from ecgtext_plugins.recipes import recipes_root
from ecgtext_plugins.text.encoders import load_tokenizer
from ecgtext_plugins.text.scratch import build_scratch_text_encoder
from tests.downloads import csn, ptbxl

VOCABULARIES = ("ptbxl_super", "ptbxl_sub", "ptbxl", "cpsc2018", "csn", "code_test", "challenge2021", "demo")
WITH_VOCABULARY = [name for name in benchmark_names() if load_benchmark(name).vocabulary]


@pytest.mark.parametrize(
    ("vocabulary", "code", "name"),
    [
        ("challenge2021", "AF", "atrial fibrillation"),
        ("code_test", "AF", "atrial fibrillation"),
        ("csn", "AF", "atrial flutter"),
        ("csn", "AFIB", "atrial fibrillation"),
        ("cpsc2018", "AFIB", "atrial fibrillation"),
        ("ptbxl", "AFIB", "atrial fibrillation"),
        ("ptbxl", "AFLT", "atrial flutter"),
        ("challenge2021", "AFL", "atrial flutter"),
        ("csn", "AT", "atrial tachycardia"),
        ("csn", "ST", "sinus tachycardia"),
        ("code_test", "ST", "sinus tachycardia"),
        ("challenge2021", "STach", "sinus tachycardia"),
        ("ptbxl", "STACH", "sinus tachycardia"),
        ("csn", "SA", "sinus arrhythmia"),
        ("challenge2021", "SA", "sinus arrhythmia"),
        ("ptbxl", "SARRH", "sinus arrhythmia"),
        ("csn", "SB", "sinus bradycardia"),
        ("code_test", "SB", "sinus bradycardia"),
        ("challenge2021", "SB", "sinus bradycardia"),
        ("challenge2021", "Brady", "bradycardia"),
        ("ptbxl", "SBRAD", "sinus bradycardia"),
        ("csn", "SR", "sinus rhythm"),
        ("challenge2021", "NSR", "sinus rhythm"),
        ("ptbxl", "SR", "sinus rhythm"),
        ("ptbxl", "NORM", "normal ecg"),
        ("cpsc2018", "NORM", "normal ecg"),
        ("ptbxl_super", "NORM", "normal ecg"),
        ("cpsc2018", "STE", "st elevation"),
        ("cpsc2018", "STD", "st depression"),
        ("csn", "STE", "abnormal st interval"),
        ("csn", "STTU", "st elevation"),
        ("ptbxl", "QWAVE", "q waves present"),
        ("challenge2021", "QAb", "abnormal q wave"),
        ("csn", "AQW", "abnormal q wave"),
        ("demo", "low_voltage", "low qrs voltage"),
        ("csn", "STDD", "st depression"),
        ("ptbxl", "STD_", "nonspecific st depression"),
        ("ptbxl", "STE_", "nonspecific st elevation"),
        ("csn", "VB", "ventricular bigeminy"),
        ("csn", "VPB", "premature ventricular complex"),
        ("cpsc2018", "VPC", "premature ventricular complex"),
        ("csn", "APB", "premature atrial complex"),
        ("csn", "VEB", "ventricular escape beat"),
        ("csn", "JEB", "junctional escape beat"),
        ("csn", "AVB", "atrioventricular block"),
        ("csn", "1AVB", "first degree atrioventricular block"),
        ("code_test", "1dAVb", "first degree atrioventricular block"),
        ("challenge2021", "IAVB", "first degree atrioventricular block"),
        ("csn", "2AVB1", "second degree atrioventricular block type one"),
        ("csn", "PRIE", "prolonged pr interval"),
        ("challenge2021", "LPR", "prolonged pr interval"),
        ("challenge2021", "PR", "pacing rhythm"),
        ("ptbxl", "PACE", "pacing rhythm"),
        ("csn", "QTIE", "prolonged qt interval"),
        ("csn", "ALS", "left axis deviation"),
        ("challenge2021", "LAD", "left axis deviation"),
        ("csn", "ARS", "right axis deviation"),
        ("csn", "CR", "clockwise rotation"),
        ("csn", "CCR", "counterclockwise rotation"),
        ("csn", "TWO", "t wave inversion"),
        ("ptbxl", "INVT", "t wave inversion"),
        ("csn", "TWC", "t wave abnormality"),
        ("ptbxl_super", "STTC", "st-t change"),
        ("ptbxl_sub", "STTC", "other st-t changes"),
        ("ptbxl", "PRC(S)", "premature complexes"),
        ("ptbxl", "LAO/LAE", "left atrial enlargement"),
        ("ptbxl", "VCLVH", "voltage criteria for left ventricular hypertrophy"),
    ],
)
def test_what_a_code_means(vocabulary, code, name):
    assert shipped_prompts("names", vocabulary, [code]) == {code: [name]}


def test_codes_with_one_snomed_code_share_a_concept():
    """CSN's table gives SNOMED CT codes, and the Challenge's scored classes are such codes."""
    of_csn, of_challenge = concepts_of("csn"), concepts_of("challenge2021")
    snomed, shared = snomed_codes(), []
    for acronym, code in csn.codes().items():
        if acronym in of_csn and code in snomed and snomed[code].label:
            shared.append(acronym)
            ours, theirs = of_csn[acronym], of_challenge[snomed[code].label]
            assert ours == theirs or (acronym, ours) in {
                ("LBBB", "left_bundle_branch_block"),  # which the Challenge counts as complete
                ("RBBB", "right_bundle_branch_block"),
            }, acronym
    assert len(shared) >= 18
    names = {acronym: snomed[csn.codes()[acronym]].name for acronym in ("STTU", "STDD", "STE", "AF", "AFIB")}
    assert names == {
        **{"STTU": "st elevation", "STDD": "st depression", "STE": "st interval abnormal"},
        **{"AF": "atrial flutter", "AFIB": "atrial fibrillation"},
    }


def test_vocabularies_are_those_of_the_datasets():
    """All statements of PTB-XL, all scored classes; what has a last underscore is also known without."""
    statements = {code for code, *_ in ptbxl.statements()}
    known = set(concepts_of("ptbxl"))
    assert len(statements) == 71 and known - statements == {"NST", "STD", "NT", "TAB", "STE"} and statements <= known
    for code in known - statements:
        assert concepts_of("ptbxl")[code] == concepts_of("ptbxl")[f"{code}_"]
    assert set(concepts_of("challenge2021")) == set(scored_labels())
    assert set(concepts_of("csn")) <= set(csn.codes())


def test_every_concept_is_used_and_has_a_text_in_every_set():
    concepts = {concept for name in VOCABULARIES for concept in concepts_of(name).values()}
    folder = recipes_root() / "manifests" / "benchmarks" / "prompts"
    assert {*read_yaml(folder / "codes.yaml")} == {*VOCABULARIES}
    for prompt_set in PROMPT_SETS:
        texts = read_yaml(folder / f"{prompt_set}.yaml")
        assert set(texts) == concepts and list(texts) == sorted(texts)
        assert all(isinstance(text, str) and text.isascii() and text == text.strip() for text in texts.values())
    expert = read_yaml(folder / "expert.yaml")
    assert len(set(expert.values())) == len(expert)
    assert all(40 < len(text) < 240 and ". " not in text and not text.endswith(".") for text in expert.values())


DENIAL = re.compile(r"\b(no|not|nor|neither|without|other than)\b")
DISEASE = re.compile(r"infarction|ischemia|hypertrophy|block|pericarditis|strain|drugs|disease|aneurysm|signs")


def test_expert_texts_deny_no_disease():
    """An embedding of a text is drawn to what it denies: only waves may be said to be absent."""
    texts = read_yaml(recipes_root() / "manifests" / "benchmarks" / "prompts" / "expert.yaml")
    denied = {name: DENIAL.search(text) for name, text in texts.items()}
    bad = [name for name, found in denied.items() if found and DISEASE.search(texts[name][found.end() :])]
    assert bad == []


def test_expert_texts_give_the_thresholds_of_the_guidelines():
    texts = read_yaml(recipes_root() / "manifests" / "benchmarks" / "prompts" / "expert.yaml")
    assert "V2 and V3 0.2 mV or more in men and 0.15 mV in women" in texts["st_elevation"]
    assert "non-compensatory pause" in texts["premature_atrial_complex"]
    assert "full compensatory pause" in texts["premature_ventricular_complex"]
    assert "subendocardial injury" in texts[concepts_of("ptbxl_super")["MI"]]
    assert "injury" not in texts[concepts_of("csn")["MI"]]


def test_demo_has_its_own_prompts_and_both_sets():
    demo = load_benchmark("demo")
    assert (demo.prompt_set, demo.vocabulary, demo.version) == ("own", "demo", 1)
    assert demo.prompts["premature_ventricular_complexes"] == ["ventricular premature complexes"]
    assert prompts_sha256(demo.prompts) == "a5706f713c6285cb0fcfcedc90e8e0c9e3d9dc0d4eacea54ba771b5aa7b03b8e"
    digests = {prompts_sha256(with_prompts(demo, name).prompts) for name in PROMPT_SETS}
    assert len(digests | {prompts_sha256(demo.prompts)}) == 3


@pytest.mark.parametrize("prompt_set", PROMPT_SETS)
@pytest.mark.parametrize("name", WITH_VOCABULARY)
def test_every_benchmark_has_every_set_complete_and_unique(name, prompt_set):
    benchmark = with_prompts(load_benchmark(name), prompt_set)
    wanted = benchmark.transfer.used if benchmark.transfer else list(benchmark.classes)
    assert list(benchmark.prompts) == wanted and benchmark.prompt_set == prompt_set
    texts = [text for listed in benchmark.prompts.values() for text in listed]
    assert len(texts) == len(set(texts)) == len(wanted) and all(text == text.lower() for text in texts)


def test_sets_that_cannot_be_looked_up():
    without = dataclasses.replace(load_benchmark("demo"), vocabulary=None)
    with pytest.raises(BadPrompts, match="benchmark demo names no vocabulary, so it has no prompt set expert"):
        with_prompts(without, "expert")
    with pytest.raises(BadPrompts, match="cannot be read as JSON"):
        with_prompts(without, json.dumps({"sinus_rhythm": "text" * 99}))
    with pytest.raises(BadPrompts, match="no prompt set 'name': expected names, expert; did you mean names"):
        shipped_prompts("name", "csn", ["SR"])


def test_templates_by_hand():
    prompts = {"a": ["one", "two"], "b": ["three {}"]}
    assert framed(prompts, ["{}", "an ecg: {}."]) == {
        "a": ["one", "an ecg: one.", "two", "an ecg: two."],
        "b": ["three {}", "an ecg: three {}."],
    }
    benchmark = with_templates(with_prompts(load_benchmark("code_test"), "names"), "ecg")
    assert benchmark.prompts["AF"] == ["ecg showing atrial fibrillation"] and benchmark.templates == "ecg"
    assert len(with_templates(load_benchmark("code_test"), "ensemble").prompts["AF"]) == len(load_templates("ensemble"))
    for name in ("plain", "report", "ecg", "ensemble"):
        assert framed(prompts, load_templates(name))
    with pytest.raises(BadPrompts, match="has templates ecg already"):
        with_templates(benchmark, "ecg")


@pytest.mark.parametrize("templates", [["ecg"], ["{} {}"], [3], []])
def test_bad_templates(templates):
    with pytest.raises(BadPrompts, match="template"):
        framed({"a": ["one"]}, templates)


def test_unknown_templates():
    sentence = "no templates 'ecgs', and no such file is there: .*shipped plain, report, ecg, ens.*did you mean ecg"
    with pytest.raises(BadPrompts, match=sentence):
        load_templates("ecgs")


def test_own_templates(tmp_path):
    path = tmp_path / "frames.json"
    path.write_text(json.dumps(["a tracing of {}", "{}."]))
    benchmark = with_prompts(load_benchmark("code_test"), "names")
    framed_by_file = with_templates(benchmark, str(path))
    assert framed_by_file.prompts["AF"] == ["a tracing of atrial fibrillation", "atrial fibrillation."]
    assert framed_by_file.templates == str(path)
    assert prompts_sha256(framed_by_file.prompts) != prompts_sha256(benchmark.prompts)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[", "frames.json cannot be read as JSON"),
        ('{"a": "{}"}', "frames.json are dict, expected a list, such as"),
        ('"{}"', "frames.json are str, expected a list"),
        ('["{}", "no place"]', "frames.json: template 'no place': expected a text with {} once"),
        ('["{} {}"]', "expected a text with {} once"),
        ("[3]", "template 3: expected a text"),
        ("[]", "frames.json: no template is given"),
    ],
)
def test_bad_templates_of_a_file(tmp_path, content, sentence):
    path = tmp_path / "frames.json"
    path.write_text(content)
    with pytest.raises(BadPrompts, match=sentence):
        load_templates(str(path))


def test_length_of_prompts(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"a": "word " * 512}))
    whole = read_prompts(path)
    with pytest.raises(BadPrompts, match="prompt of class 'a' has 513 words, expected 512 at most"):
        framed(whole, ["ecg: {}"])
    path.write_text(json.dumps({"a": ["short", "word " * 513]}))
    with pytest.raises(BadPrompts, match="prompts.json: prompt of class 'a' has 513 words"):
        read_prompts(path)


def test_notes_of_equal_and_cut_prompts(tmp_path):
    assert prompt_notes({"a": ["one"], "b": ["two", "two"]}) == []
    (note,) = prompt_notes({"a": ["Sinus rhythm"], "b": ["af", "sinus  rhythm"], "c": ["vt"]})
    assert note == "classes a, b have the same prompt 'sinus rhythm', which cannot tell them apart"
    corpus = ["sinus rhythm normal ecg", "left bundle branch block", "atrial fibrillation"]
    folder = build_scratch_text_encoder(
        corpus, tmp_path, vocab_size=200, d_model=16, num_layers=1, num_heads=2, d_ff=32
    )
    model = SimpleNamespace(tokenizer=load_tokenizer(folder), max_text_tokens=8)
    exact = "rhythm rhythm"
    while len(model.tokenizer(exact)["input_ids"]) < 8:
        exact += " rhythm"
    assert prompt_notes({"a": [exact]}, model) == []
    (note,) = prompt_notes({"a": ["ecg", exact + " rhythm"]}, model)
    assert re.fullmatch(r"a prompt of class a, 'rhythm .*', has \d+ tokens, of which the model reads 8", note)
    assert prompt_notes({"a": [exact + " rhythm"]}, SimpleNamespace(tokenizer=None, max_text_tokens=8)) == []


@pytest.mark.parametrize("prompt_set", PROMPT_SETS)
@pytest.mark.parametrize("name", WITH_VOCABULARY)
def test_shipped_prompts_need_no_note(name, prompt_set):
    assert prompt_notes(with_prompts(load_benchmark(name), prompt_set).prompts) == []


def test_digest_is_of_classes_and_texts_in_order():
    content = '[["ä",["x","y"]],["b",["z"]]]'
    assert prompts_sha256({"ä": ["x", "y"], "b": ["z"]}) == hashlib.sha256(content.encode()).hexdigest()
    assert prompts_sha256({"b": ["z"], "ä": ["x", "y"]}) != prompts_sha256({"ä": ["x", "y"], "b": ["z"]})
