"""`ecgtext saliency` as typed, with a small classifier in our own folder format."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from ecgtext_plugins.checkpoints.folder import write_folder
from ecgtext_plugins.checkpoints.source import TRAINING, Source
from ecgtext_plugins.cli.main import main
from ecgtext_plugins.modules.ecg_classifier import EcgClassifier, EcgClassifierConfig
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.store.manifest import write_manifest
from ecgtext_plugins.store.reader import RecordStore

ALL = ",".join(LEADS)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Folder of a classifier of three labels, trained on standardised windows of 400 samples at 100 Hz."""
    torch.manual_seed(5)
    config = EcgClassifierConfig(
        conv_feature_layers="[(8, 2, 2)] * 4",
        conv_pos=8,
        conv_pos_groups=2,
        encoder_layers=2,
        encoder_embed_dim=16,
        encoder_ffn_embed_dim=16,
        encoder_attention_heads=2,
        initializer_range=0.5,
        num_labels=3,
    )
    values = {"model": {"_name": "ecg_transformer_classifier", **dataclasses.asdict(config)}}
    source = Source(
        *("ecg_transformer_classifier", TRAINING, config, values, 100.0, 400, EcgClassifier(config).state_dict()),
        standardize=True,
        labels=["AF", "NSR", "PVC"],
    )
    folder = tmp_path_factory.mktemp("model") / "classifier"
    write_folder(folder, source, "ab" * 32, "test")
    return folder


@pytest.fixture
def signal():
    return (np.random.default_rng(0).normal(size=(12, 1000)).cumsum(axis=1) * 30).astype(np.int16)  # microvolt


def saliency(checkpoint, record, out, *options):
    return main(["saliency", str(checkpoint), str(record), "--out", str(out), *map(str, options)])


def values_of(capsys):
    found = json.loads(capsys.readouterr().out)
    return np.array(found.pop("values")), found


def test_array_page_and_values(checkpoint, signal, tmp_path, capsys):
    np.save(tmp_path / "ecg.npy", signal)
    options = ("--fs", 100, "--leads", ALL, "--unit", "uV")
    out = tmp_path / "page.png"
    assert saliency(checkpoint, tmp_path / "ecg.npy", out, *options, "--json") == 0
    values, found = values_of(capsys)
    assert values.shape == (1000,) and values.min() == 0 and values.max() == 1
    assert found["window_starts"] == [0, 400, 600] and found["layer"] == -1 and found["sample_rate"] == 100
    first = out.read_bytes()
    assert first.startswith(b"\x89PNG")
    assert saliency(checkpoint, tmp_path / "ecg.npy", out, *options) == 0
    assert out.read_bytes() == first
    told = capsys.readouterr().out
    assert told.startswith(f"{out}: attention of record ecg, {found['label']} {found['probability']:.3f}")
    assert saliency(checkpoint, tmp_path / "ecg.npy", out, *options, "--layer", 0, "--json") == 0
    assert np.abs(values_of(capsys)[0] - values).max() > 0.1


def test_gradient_of_a_label_by_lead(checkpoint, signal, tmp_path, capsys):
    np.save(tmp_path / "ecg.npy", signal.T)  # samples first
    options = ("--fs", 100, "--leads", ALL, "--unit", "uV", "--method", "gradient", "--seconds", 1, "--json")
    seen = {}
    for label in ("AF", "PVC"):
        out = tmp_path / f"{label}.svg"
        assert saliency(checkpoint, tmp_path / "ecg.npy", out, *options, "--label", label) == 0
        seen[label], found = values_of(capsys)
        assert found["label"] == label and 0 < found["probability"] < 1 and found["layer"] is None
        assert seen[label].shape == (12, 1000) and seen[label].std(axis=0).max() > 0
        assert "<svg" in out.read_text("utf-8")[:500]
    assert np.abs(seen["AF"] - seen["PVC"]).max() > 0.05


def test_the_same_recording_in_other_files(checkpoint, signal, tmp_path, capsys):
    from scipy.io import savemat

    np.save(tmp_path / "ecg.npy", signal)
    savemat(tmp_path / "feats.mat", {"feats": signal / 1000.0, "curr_sample_rate": 100})
    savemat(tmp_path / "val.mat", {"val": signal})
    signal.T.astype("<i2").tofile(tmp_path / "rec.dat")
    lines = [
        f"rec.dat 16 1000.0(0)/mV 16 0 {s[0]} {s.sum(dtype='i2')} 0 {n}" for s, n in zip(signal, LEADS, strict=True)
    ]
    (tmp_path / "rec.hea").write_text("\n".join(["rec 12 100 1000", *lines]) + "\n")
    array = ("--fs", 100, "--leads", ALL, "--unit", "uV")
    seen = []
    for name, options in (
        ("ecg.npy", array),
        ("feats.mat", ()),
        ("val.mat", (*array, "--variable", "val")),
        ("rec", ()),
        ("rec.hea", ()),
        ("rec.dat", ()),
    ):
        assert saliency(checkpoint, tmp_path / name, tmp_path / "page.pdf", *options, "--seconds", 1, "--json") == 0
        seen.append(values_of(capsys)[0])
    for other in seen[1:]:
        np.testing.assert_allclose(other, seen[0], atol=2e-3)


def test_records_of_stores_and_manifests(checkpoint, demo_store_once, tmp_path, capsys):
    store = RecordStore.open(demo_store_once)
    name = store.column("record_id")[3]
    windows = tmp_path / "windows.tsv"
    length = int(store.column("n_samples")[3])
    write_manifest(windows, [name, name], [300, 300], str(demo_store_once), starts=[0, 300])
    split = demo_store_once / "manifests" / f"{store.column('split')[3]}.tsv"
    seen = []
    for record in (demo_store_once, split, windows):
        assert saliency(checkpoint, record, tmp_path / "page.png", "--record-id", name, "--seconds", 1, "--json") == 0
        values, found = values_of(capsys)
        assert found["record"] == name and values.shape == (length,)
        seen.append(values.tolist())
    assert seen[0] == seen[1] == seen[2]


def test_model_without_labels(stand_in_encoder, signal, tmp_path, capsys):
    np.save(tmp_path / "ecg.npy", signal)
    options = ("--fs", 100, "--leads", ALL, "--unit", "uV", "--method", "gradient", "--seconds", 1, "--json")
    assert saliency(stand_in_encoder, tmp_path / "ecg.npy", tmp_path / "page.png", *options) == 0
    values, found = values_of(capsys)
    assert found["label"] is None and found["probability"] is None and values.shape == (12, 1000)
    assert saliency(stand_in_encoder, tmp_path / "ecg.npy", tmp_path / "page.png", *options, "--label", "AF") == 1
    assert "has no labels" in capsys.readouterr().err


@pytest.fixture
def stand_in_encoder(checkpoint, tmp_path):
    """The classifier's encoder with the head of an identification network."""
    from ecgtext_plugins.checkpoints.folder import read_folder

    found = read_folder(checkpoint)
    weights = {key: value for key, value in found.weights.items() if not key.startswith("proj.")}
    weights["kernel"] = torch.randn(3, 16)
    config = {**found.config, "model": {**found.config["model"], "_name": "arcface"}}
    folder = tmp_path / "arcface"
    write_folder(
        folder,
        dataclasses.replace(found, family="arcface", weights=weights, labels=None, config=config),
        "ab" * 32,
        "test",
    )
    return folder


@pytest.mark.parametrize(
    ("record", "options", "word"),
    [
        ("ecg.npy", (), "give --fs 500 and --leads I,II,III"),
        ("ecg.npy", ("--fs", 100), "without rate and lead names"),
        ("ecg.npy", ("--fs", 100, "--leads", "I,II"), "expected 2 leads"),
        ("ecg.npy", ("--fs", 100, "--leads", ALL.replace("V6", "V5")), "twice"),
        ("ecg.npy", ("--fs", 100, "--leads", ALL, "--unit", "uV", "--label", "X"), "no label 'X'"),
        ("ecg.npy", ("--fs", 100, "--leads", ALL, "--unit", "uV", "--layer", 2), "no layer 2"),
        ("ecg.npy", ("--fs", 100, "--leads", ALL, "--unit", "uV", "--start", 10), "nothing to draw"),
        ("ecg.npy", ("--fs", 100, "--leads", ALL, "--record-id", 3), "leave --record-id out"),
        ("missing.npy", ("--fs", 100, "--leads", ALL), "there is no missing.npy"),
        ("missing.mat", (), "missing.mat"),
        ("missing", (), "there is no header"),
        ("missing.tsv", ("--record-id", 3), "cannot be read"),
        (".", (), "name one with --record-id"),
        (".", ("--record-id", 3), "is not a finished record store"),
    ],
)
def test_errors_are_told_and_leave_no_page(checkpoint, signal, tmp_path, capsys, record, options, word):
    np.save(tmp_path / "ecg.npy", signal)
    assert saliency(checkpoint, tmp_path / record, tmp_path / "page.png", *options) == 1
    told = capsys.readouterr().err
    assert word in told and told.startswith("ecgtext: error: ") and told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["ecg.npy"]


def test_unknown_record_and_ending(checkpoint, demo_store_once, tmp_path, capsys):
    for record in (demo_store_once, demo_store_once / "manifests" / "train.tsv"):
        assert saliency(checkpoint, record, tmp_path / "page.png", "--record-id", "99x") == 1
        assert "99x" in capsys.readouterr().err
    assert saliency(checkpoint, demo_store_once, tmp_path / "page.gif", "--record-id", "1") == 1
    assert "expected an ending" in capsys.readouterr().err


def test_published_checkpoint_on_a_real_record(shared, tmp_path, capsys):
    record = shared / "data" / "physionet2021" / "georgia" / "E07500"
    names = tmp_path / "names.txt"
    names.write_text("\n".join("ABCDEFGH"))
    checkpoint = shared / "golden" / "ecg_fm_finetuned_tiny.pt"
    assert saliency(checkpoint, record, tmp_path / "page.png", "--labels", names, "--label", "H", "--json") == 0
    values, found = values_of(capsys)
    assert values.shape == (5000,) and found["label"] == "H" and found["window_starts"] == [0, 2500]
