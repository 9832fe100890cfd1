"""Domain transfers: OR-ed labels, the largest score of the source's classes, and the rows of the published table."""

import numpy as np
import pytest
import torch
import yaml

from ecgtext_plugins.errors import BadRecipe
from ecgtext_plugins.evaluation import run_benchmark
from ecgtext_plugins.evaluation.benchmark import benchmark_names, load_benchmark
from ecgtext_plugins.evaluation.run_benchmark import run_zero_shot
from ecgtext_plugins.evaluation.transfer import Transfer, any_of, read_groups
from ecgtext_plugins.store.manifest import Manifest
from tests.downloads import cpsc2018, csn

# D-BETA, table 11: one row a line
SUPER_CPSC = "NORM=NORM CD=1AVB|CRBBB|CLBBB STTC=STE|STD"
SUPER_CSN = "HYP=RVH|LVH NORM=SR CD=2AVB|2AVB1|1AVB|AVB|LBBB|RBBB|STDD MI=MI STTC=STTC|STE|TWO|STTU|QTIE|TWC"
CPSC_CSN = "AFIB=AFIB VPC=VPB NORM=SR 1AVB=1AVB CRBBB=RBBB STE=STE PAC=APB CLBBB=LBBB STD=STE|STTC|STTU|STDD"


def table(rows):
    return {left: tuple(right.split("|")) for left, _, right in (row.partition("=") for row in rows.split())}


def same(rows):
    return {name: (name,) for name in table(rows)}


@pytest.mark.parametrize(
    ("name", "source", "taught", "labels", "published"),
    [
        ("ptbxl_super_cpsc2018", "ptbxl_super", same(SUPER_CPSC), table(SUPER_CPSC), 72.09),
        ("ptbxl_super_csn", "ptbxl_super", same(SUPER_CSN), table(SUPER_CSN), 79.11),
        ("cpsc2018_ptbxl_super", "cpsc2018", table(SUPER_CPSC), same(SUPER_CPSC), 77.12),
        ("cpsc2018_csn", "cpsc2018", same(CPSC_CSN), table(CPSC_CSN), 82.91),
        ("csn_ptbxl_super", "csn", table(SUPER_CSN), same(SUPER_CSN), 76.24),
        ("csn_cpsc2018", "csn", table(CPSC_CSN), same(CPSC_CSN), 80.10),
    ],
)
def test_published_rows(name, source, taught, labels, published):
    benchmark = load_benchmark(f"transfer_{name}")
    assert benchmark.classes == labels and list(benchmark.classes) == list(labels)
    assert benchmark.transfer == Transfer(source, taught) and benchmark.task == "transfer"
    assert benchmark.published == {"D-BETA": {"zero_shot": published}}


def test_corrected_rows_of_superclasses():
    """ST depression is an ST change, no conduction disturbance; nothing else differs."""
    expected = table(SUPER_CSN)
    expected["CD"] = expected["CD"][:-1]
    expected["STTC"] += ("STDD",)
    there, back = (load_benchmark(f"transfer_{name}_corrected") for name in ("ptbxl_super_csn", "csn_ptbxl_super"))
    assert there.classes == back.transfer.classes == expected
    assert there.recipes == ["merl_csn_corrected"] and back.transfer.source == "csn_corrected"
    assert there.published == back.published == {}


def test_corrected_rows_of_cpsc2018_are_those_of_one_snomed_code():
    there, back = (load_benchmark(f"transfer_{name}_corrected") for name in ("cpsc2018_csn", "csn_cpsc2018"))
    assert there.classes == back.transfer.classes and list(there.classes) == list(table(CPSC_CSN))
    assert there.recipes == ["merl_csn_corrected"] and back.transfer.source == "csn_corrected"
    ours, theirs = csn.codes(), cpsc2018.CLASSES
    for name, (code,) in there.classes.items():
        if name != "VPC":  # premature ventricular contraction and ventricular premature beat: two codes of one thing
            assert int(ours[code]) == theirs[name][1], name
    assert there.classes["VPC"] == ("VPB",)


def test_the_others_have_no_error_to_correct():
    corrected = {name.removesuffix("_corrected") for name in benchmark_names() if name.endswith("_corrected")}
    assert {name for name in benchmark_names() if name.startswith("transfer_")} - corrected >= {
        "transfer_ptbxl_super_cpsc2018",
        "transfer_cpsc2018_ptbxl_super",
    }
    assert "transfer_ptbxl_super_cpsc2018" not in corrected and "transfer_cpsc2018_ptbxl_super" not in corrected


def test_any_of_by_hand():
    labels = np.array([[True, False, False], [False, False, True], [False, False, False]])
    groups = {"y": ["b", "c"], "x": ["a"], "z": ["a", "c"]}
    np.testing.assert_array_equal(
        any_of(labels, ["a", "b", "c"], groups),
        [[False, True, True], [True, False, True], [False, False, False]],
    )
    scores = np.array([[0.1, -2.0, 3.0], [0.5, 0.4, -1.0]])
    np.testing.assert_array_equal(any_of(scores, ["a", "b", "c"], groups), [[3.0, 0.1, 3.0], [0.4, 0.5, 0.5]])


def test_groups():
    assert read_groups(["b", "a"], "classes") == {"b": ("b",), "a": ("a",)}
    assert read_groups({"x": "a", "y": ["a", "b"]}, "classes") == {"x": ("a",), "y": ("a", "b")}


SHIPPED = {
    **{"name": "mine", "version": 1, "description": "mine", "recipe": "merl_cpsc2018", "split": "test"},
    **{"metric": "auroc", "classes": {"NORM": "NORM", "CD": ["1AVB", "CRBBB"]}},
}


@pytest.mark.parametrize(
    ("transfer", "sentence"),
    [
        ({"source": "ptbxl_super", "classes": ["NORM"]}, "transfer.classes NORM, expected the same as in classes"),
        (
            {"source": "ptbxl_super", "classes": {"NORM": "NORM", "CD": "AVB"}},
            "class 'AVB', which benchmark ptbxl_s",
        ),
        ({"source": "ptbxl", "classes": ["NORM", "CD"]}, "no benchmark 'ptbxl'"),
        ({"source": "transfer_ptbxl_super_csn", "classes": ["NORM", "CD"]}, "expected a benchmark of classification"),
        ({"source": "physionet2021_id", "classes": ["NORM", "CD"]}, "expected a benchmark of classification"),
        ("ptbxl_super", "expected source"),
    ],
)
def test_bad_transfers(tmp_path, transfer, sentence):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**SHIPPED, "transfer": transfer}))
    with pytest.raises(BadRecipe, match=sentence):
        load_benchmark(str(path))


class Model(torch.nn.Module):
    """Embeddings are the first samples of three leads; a text's embedding is told by a word in it."""

    sample_rate, config, checkpoint_sha256 = 500.0, {"model": {}}, "ff" * 32
    words = {"normal ecg": [1.0, 0, 0], "first": [0, 1.0, 0], "right": [0, 0, 1.0], "left": [0, 0, -1.0]}

    def encode_ecg(self, ecg):
        return ecg[:, :3, 0]

    def encode_text(self, texts):
        found = [[vector for word, vector in self.words.items() if word in text] for text in texts]
        return torch.tensor([vectors[0] if vectors else [0.0, 0.0, 0.0] for vectors in found])


class Store:
    """Ten records with labels HYP, NORM, MI, CD, STTC as recipe ptbxl has them."""

    fingerprint, sample_rate = "ee" * 32, 500.0

    def __init__(self, folder):
        rng = np.random.default_rng(1)
        self.folder, self.corpus = folder, {"recipe": {"name": "ptbxl"}}
        self.label_names = [f"super/{name}" for name in ("CD", "HYP", "MI", "NORM", "STTC")]
        self.signals = rng.normal(size=(10, 12, 20)).astype(np.float32)
        self.labels = rng.random((10, 5)) < 0.5
        (folder / "manifests" / "super").mkdir(parents=True)
        (folder / "manifests" / "super" / "test.tsv").touch()

    def signal_mv(self, row):
        return self.signals[row]

    def label_matrix(self, rows, names):
        return self.labels[np.asarray(rows)][:, [self.label_names.index(name) for name in names]]


def test_scores_of_source_prompts_on_the_targets_labels_by_hand(tmp_path, monkeypatch):
    store = Store(tmp_path)
    rows = np.arange(10)
    monkeypatch.setattr(run_benchmark.RecordStore, "open", lambda folder: store)
    monkeypatch.setattr(run_benchmark, "read_manifest", lambda path: Manifest(path, store, rows, np.full(10, 20)))
    result = run_zero_shot(Model(), load_benchmark("transfer_cpsc2018_ptbxl_super"), store.folder)
    a, b, c = store.signals[:, :3, 0].T
    score = {"NORM": a, "CD": np.max([b, c, -c], axis=0), "STTC": np.zeros(10)}
    for name, column in (("NORM", 3), ("CD", 0), ("STTC", 4)):
        positive = store.labels[:, column]
        pairs = score[name][positive][:, None] - score[name][~positive][None, :]
        assert result["auroc"][name] == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
        assert result["positives"][name] == positive.sum()
    assert list(result["auroc"]) == ["NORM", "CD", "STTC"]
    assert list(result["prompts"]) == ["NORM", "1AVB", "CRBBB", "CLBBB", "STE", "STD"]
    assert result["transfer"]["source"] == "cpsc2018" and result["transfer"]["classes"]["STTC"] == ["STE", "STD"]
