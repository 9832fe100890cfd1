"""Probabilities of recordings: batches, windows, aggregation, sources, rates, orders of leads, failures."""

import csv
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import ecgtext_plugins
from ecgtext_plugins.checkpoints.ecg_fm import MAXIMUM_LABELS, MIMIC_LABELS
from ecgtext_plugins.cli.main import main
from ecgtext_plugins.errors import BadCheckpoint, BadConfig, BadRawData
from ecgtext_plugins.evaluation.predict import predict, takes_highest, write_failures, write_predictions
from ecgtext_plugins.evaluation.record_sources import ArrayForm, open_records
from ecgtext_plugins.evaluation.window_cutting import WindowForm, cut
from ecgtext_plugins.signals.leads import LEADS
from ecgtext_plugins.signals.resampling import resample_linear
from ecgtext_plugins.store.manifest import read_manifest, write_manifest
from tests.builders import write_record
from tests.evaluation.tiny_models import tiny_ecg_model, write_recordings

FEW = ["a", "b", "c"]


@pytest.fixture
def model(tmp_path):
    return tiny_ecg_model(tmp_path / "model.pt", FEW)


@pytest.fixture
def folder(tmp_path):
    write_recordings(tmp_path / "records")
    return tmp_path / "records"


def by_record(found):
    return dict(zip(found.keys["record_id"].to_pylist(), found.probabilities, strict=True))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("standardize", [True, False])
def test_a_record_is_what_the_model_says_of_it_alone(folder, tmp_path, batch_size, standardize):
    model = tiny_ecg_model(tmp_path / "model.pt", FEW, standardize)
    sources = open_records([folder])
    found = predict(model, sources, batch_size=batch_size)
    assert found.keys["record_id"].to_pylist() == [f"r{place}" for place in range(5)]
    assert found.keys["n_windows"].to_pylist() == [3, 3, 1, 1, 4] and found.n_windows == 12 and not found.failures
    for place, probabilities in enumerate(found.probabilities):
        recording = sources.read(place)
        alone = model.predict(recording.signal, fs=recording.rate, leads=LEADS)
        np.testing.assert_allclose(probabilities, list(alone.values()), atol=2e-6)
    assert np.ptp(found.probabilities, axis=0).min() > 1e-3  # the records do differ


def test_workers_change_nothing(folder, model):
    one, two = (predict(model, open_records([folder]), batch_size=4, workers=workers) for workers in (0, 2))
    np.testing.assert_array_equal(one.probabilities, two.probabilities)


def test_windows_start_where_they_were_cut(tmp_path, model):
    """The signal counts its own samples, so a window tells its place."""
    ramp = np.tile(np.arange(1250, dtype=np.float32) / 10, (12, 1))
    np.save(tmp_path / "ramp.npy", ramp)
    form = WindowForm(100.0, 400, False, WindowForm.of(model).ecg_encoder)
    for rate, length in ((100.0, 1250), (50.0, 2500), (200.0, 625)):
        recording = open_records([tmp_path / "ramp.npy"], ArrayForm(rate, LEADS)).read(0)
        ecg, valid, start = cut(recording, form)
        assert start.tolist() == [*range(0, length - 400, 400), length - 400] and (valid == 400).all()
        np.testing.assert_allclose(ecg[:, 0, 200] * 10, (start + 200) * rate / 100, atol=1.0)


@pytest.mark.parametrize("labels", [FEW, list(MIMIC_LABELS)])
@pytest.mark.parametrize("aggregate", ["auto", "mean", "max"])
def test_aggregation_against_a_loop(folder, tmp_path, labels, aggregate):
    model = tiny_ecg_model(tmp_path / "model.pt", labels)
    windows = predict(model, open_records([folder]), each_window=True)
    found = by_record(predict(model, open_records([folder]), aggregate))
    assert windows.keys["start"].to_pylist()[:3] == [0, 400, 600]
    ids = windows.keys["record_id"].to_pylist()
    for record, values in found.items():
        for place, label in enumerate(labels):
            own = [row[place] for row, of in zip(windows.probabilities, ids, strict=True) if of == record]
            highest = aggregate == "max" or (aggregate == "auto" and label in MAXIMUM_LABELS and len(labels) == 17)
            expected = max(own) if highest else sum(map(float, own)) / len(own)
            assert values[place] == pytest.approx(expected, abs=1e-6)


def test_the_published_five_take_the_highest():
    chosen = takes_highest(MIMIC_LABELS[::-1])
    assert chosen.sum() == 5 and not takes_highest(MIMIC_LABELS[:16]).any()
    with pytest.raises(BadConfig, match="aggregate=median"):
        takes_highest(FEW, "median")


def test_order_and_spelling_of_leads_do_not_matter(tmp_path, model):
    order = LEADS[::-1]
    write_recordings(tmp_path / "a")
    write_recordings(tmp_path / "b", leads=order)
    first, second = (predict(model, open_records([tmp_path / name])) for name in "ab")
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    signal = open_records([tmp_path / "a"]).read(0).signal
    np.save(tmp_path / "x.npy", signal[::-1].T * 1000)  # samples first, microvolt
    names = tuple(name.upper() for name in order)
    found = predict(model, open_records([tmp_path / "x.npy"], ArrayForm(100.0, names, "uV")))
    np.testing.assert_allclose(found.probabilities[0], first.probabilities[0], atol=1e-5)


def test_missing_leads_are_zero_and_told(tmp_path, model):
    counts = write_recordings(tmp_path / "a", lengths=(900,))[0]
    write_record(tmp_path / "b", "few", counts, leads=("II", "I", "V2"), rate=100)
    found = predict(model, open_records([tmp_path / "b"]))
    assert found.keys["missing_leads"].to_pylist() == ["III aVR aVL aVF V1 V3 V4 V5 V6"]
    zeroed = np.where(np.isin(LEADS, ("I", "II", "V2"))[:, None], counts * 0.005, 0)
    expected = model.predict(zeroed, fs=100, leads=LEADS)
    np.testing.assert_allclose(found.probabilities[0], list(expected.values()), atol=1e-5)


def test_rates_agree(tmp_path, model):
    """A record at another rate is the record resampled beforehand; at twice the rate it is nearly the same."""
    slow = open_records([write_recordings(tmp_path / "a", (500,), 50) and tmp_path / "a"]).read(0).signal
    for name, signal in (("slow", slow), ("same", resample_linear(slow, 50.0, 100.0))):
        np.save(tmp_path / f"{name}.npy", signal)
    results = [
        predict(model, open_records([tmp_path / f"{name}.npy"], ArrayForm(rate, LEADS))).probabilities
        for name, rate in (("slow", 50.0), ("same", 100.0))
    ]
    np.testing.assert_allclose(*results, atol=1e-5)


def test_windows_of_a_manifest(demo_data, tmp_path):
    """A manifest of windows gives what the whole records do; names of one record are one row."""
    whole = read_manifest(demo_data / "manifests" / "test.tsv")
    ids, lengths = whole.record_ids, whole.n_samples
    model = tiny_ecg_model(tmp_path / "m.pt", FEW, n_samples=int(lengths[0]) // 2, rate=whole.store.sample_rate)
    listed = [(name, start) for start in (0, model.n_samples) for name in ids]
    path = demo_data / "manifests" / "halves.tsv"
    write_manifest(path, [n for n, _ in listed], [model.n_samples] * len(listed), starts=[s for _, s in listed])
    first, second = (predict(model, open_records([name])) for name in (whole.path, path))
    assert first.keys.equals(second.keys) and set(first.keys["n_windows"].to_pylist()) == {2}
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=2e-6)


def test_failures_leave_the_others_alone(folder, model):
    before = by_record(predict(model, open_records([folder])))
    (folder / "r1.dat").write_bytes((folder / "r1.dat").read_bytes()[:-40])
    (folder / "bad.hea").write_text("nonsense")
    (folder / "bad.mat").write_bytes(b"not matlab")
    (folder / "other.mat").write_bytes(b"not matlab")
    write_record(folder, "short", np.ones((12, 5), np.int16), rate=100)
    write_record(folder, "none", np.full((12, 500), -32768, np.int16), rate=100)
    found = predict(model, open_records([folder]))
    reasons = dict(found.failures)
    assert set(reasons) == {"r1", "bad", "other", "short", "none"} and "truncated" not in by_record(found)
    assert "has 21560 bytes: expected 21600" in reasons["r1"] and "one frame of the model" in reasons["short"]
    assert "all leads miss" in reasons["none"] and "MATLAB 5" in reasons["other"]
    assert list(by_record(found)) == ["r0", "r2", "r3", "r4"]
    for record, values in by_record(found).items():
        np.testing.assert_allclose(values, before[record], atol=2e-6)


def test_nothing_usable_is_an_empty_table(tmp_path, model):
    write_record(tmp_path / "a", "short", np.ones((12, 5), np.int16), rate=100)
    found = predict(model, open_records([tmp_path / "a"]))
    assert found.probabilities.shape == (0, 3) and len(found.failures) == 1
    write_predictions(tmp_path / "out.csv", found, {})
    assert (tmp_path / "out.csv").read_text() == "record_id,n_windows,missing_leads,a,b,c\n"


def test_what_is_refused(folder, tmp_path, model):
    with pytest.raises(BadRawData, match="--fs HZ and --leads"):
        np.save(tmp_path / "x.npy", np.zeros((12, 500)))
        open_records([tmp_path / "x.npy"])
    with pytest.raises(BadRawData, match="no_such is not there"):
        open_records([tmp_path / "no_such"])
    with pytest.raises(BadRawData, match="more than once"):
        open_records([folder, folder / "r0.hea"])
    with pytest.raises(BadCheckpoint, match="wav2vec2_cmsc, which has no labels .* `ecgtext embed`"):
        predict(tiny_ecg_model(tmp_path / "p.pt"), open_records([folder]))
    model.model.proj.bias.data[1] = torch.nan
    with pytest.raises(BadCheckpoint, match="record r0 is not finite"):
        predict(model, open_records([folder]))


def test_tables(folder, tmp_path, model):
    found = predict(model, open_records([folder]))
    write_predictions(tmp_path / "p.csv", found, {})
    write_predictions(tmp_path / "p.parquet", found, {"checkpoint_sha256": "ff"})
    with open(tmp_path / "p.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == list(rows[0]) == ["record_id", "n_windows", "missing_leads", *FEW]
    assert {str(table.schema.field(label).type) for label in FEW} == {"float"}
    assert table.schema.metadata == {b"checkpoint_sha256": b"ff"}
    for label in FEW:
        assert [row[label] for row in rows] == [f"{value:.6f}" for value in table[label].to_pylist()]
    listed = write_failures(tmp_path / "p.csv", [("x", "why, so")])
    assert listed.name == "p.failures.csv" and listed.read_text() == 'record,reason\nx,"why, so"\n'
    write_failures(tmp_path / "p.csv", [])
    assert not listed.exists()


@pytest.fixture(scope="module")
def published(shared):
    return ecgtext_plugins.load(shared / "golden" / "ecg_fm_finetuned_tiny.pt")


def test_published_logits(shared, published, tmp_path):
    """Windows of the golden input, as an org file of several seconds would give them, have the golden probabilities."""
    golden = np.load(shared / "golden" / "ecg_fm_finetuned_tiny_ref.npz")
    outputs = published.logits(torch.from_numpy(golden["source"])).numpy()
    np.testing.assert_allclose(outputs, golden["logits"], atol=1e-4 * np.abs(golden["logits"]).max())


def test_real_records_of_five_sources(shared, published, tmp_path):
    """WFDB of three sources, CPSC 2018's .mat, arrays at 250 Hz: each as the model says of it alone."""
    real = shared / "data"
    inputs = [real / "physionet2021" / name for name in ("georgia", "ningbo", "ptb-xl")] + [real / "cpsc2018"]
    signal = open_records([real / "cpsc2018"]).read(0).signal[:, ::2]
    np.save(tmp_path / "half_rate.npy", signal)
    sources = open_records([*inputs, tmp_path / "half_rate.npy"], ArrayForm(250.0, LEADS))
    found = predict(published, sources, batch_size=7)
    assert len(found.probabilities) == len(sources) == 29 and not found.failures
    for place, values in enumerate(found.probabilities):
        recording = sources.read(place)
        alone = published.predict(recording.signal, fs=recording.rate, leads=LEADS)
        np.testing.assert_allclose(values, list(alone.values()), atol=1e-5)
    whole = by_record(found)
    assert np.abs(whole["half_rate"] - whole[sources.ids[25].as_py()]).max() < 0.05


def test_real_manifests_agree_with_the_files(shared, published, tmp_path):
    """A store keeps integer sources exactly; fairseq-signals' windows of it are standardised as ours."""
    raw, data, exported = shared / "data" / "physionet2021", tmp_path / "data", tmp_path / "fs"
    main(["manifest", "build", "physionet2021", "--raw", str(raw), "--dest", str(data), "--workers", "1"])
    export = ["manifest", "export", str(data), "--format", "fairseq-signals", "--dest", str(exported)]
    assert main([*export, "--stages", "segmented", "--workers", "1"]) == 0
    files = by_record(predict(published, open_records([raw])))
    listed = [
        data / "manifests" / "train.tsv",
        *(exported / "manifests" / kind / "train.tsv" for kind in ("plain", "cmsc")),
    ]
    for manifest in listed:
        found = predict(published, open_records([manifest]))
        assert len(found.probabilities) == len(read_manifest(listed[0])) and not found.failures
        for record, values in by_record(found).items():
            np.testing.assert_allclose(values, files[record.removeprefix("physionet2021_")], atol=1e-5)
    starts = predict(published, open_records(listed[1:2]), each_window=True).keys["start"].to_pylist()
    assert starts[:4] == [0, 2500, 0, 2500]


def test_a_second_run_has_the_same_bytes(shared, tmp_path):
    model, raw = str(shared / "golden" / "ecg_fm_finetuned_tiny.pt"), str(shared / "data" / "physionet2021")
    for ending in ("csv", "parquet"):
        paths = [tmp_path / f"{run}.{ending}" for run in (1, 2)]
        for path in paths:
            assert main(["predict", model, raw, "--out", str(path)]) == 0
        assert Path(paths[0]).read_bytes() == paths[1].read_bytes() and os.path.getsize(paths[0]) > 1000
