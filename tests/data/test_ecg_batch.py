"""Batches of ECGs against numpy, record by record."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ecgtext_plugins.data.ecg_batch import StoredEcg, batch_of, stored_ecg
from ecgtext_plugins.data.ecg_text_dataset import EcgTextDataset, EcgTextOptions
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.manifest import read_manifest, write_manifest
from ecgtext_plugins.store.recipe import resolve_recipe
from ecgtext_plugins.text.encoders import load_tokenizer
from tests import builders

MISSING = -32768


def ecgs(n=5, length=60):
    rng = np.random.default_rng(2)
    found = []
    for number in range(n):
        counts = rng.integers(-2000, 2000, (12, length + number), dtype=np.int16)
        if number % 2:
            counts[number], counts[2, 5:9] = MISSING, MISSING
        counts.flags.writeable = False
        found.append(StoredEcg(counts, 0.0025 * (number + 1)))
    return found


def millivolt(ecg):
    """What a batch should hold, in numpy's plainest words."""
    if ecg.step_mv is None:
        return np.nan_to_num(ecg.values, nan=0.0)
    return np.where(ecg.values == MISSING, 0, ecg.values).astype(np.float32) * np.float32(ecg.step_mv)


@pytest.mark.parametrize("with_original", [False, True])
def test_crop_missing_samples_and_hidden_leads(with_original):
    stored, starts = ecgs(), [0, 1, 0, 3, 2]
    hidden = np.random.default_rng(3).random((5, 12)) < 0.5
    shown, original = batch_of(stored, 50, starts, hidden, with_original)
    expected = np.stack([millivolt(ecg)[:, at : at + 50] for ecg, at in zip(stored, starts, strict=True)])
    assert shown.dtype == torch.float32 and shown.shape == (5, 12, 50)
    np.testing.assert_array_equal(shown.numpy(), np.where(hidden[:, :, None], 0, expected))
    if with_original:
        np.testing.assert_array_equal(original.numpy(), expected)
        assert original.data_ptr() != shown.data_ptr()
    else:
        assert original is None


def test_floating_point_ecgs_of_mat_files_and_counts_mix():
    signal = np.random.default_rng(4).standard_normal((12, 60)).astype(np.float32)
    signal[3, 4:8] = np.nan
    stored = [StoredEcg(signal, None), *ecgs(1)]
    shown, _ = batch_of(stored, 60)
    np.testing.assert_array_equal(shown.numpy(), np.stack([millivolt(ecg) for ecg in stored]))
    assert np.isnan(signal[3, 4:8]).all()  # the source is as it was


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """A manifest of windows of records with a missing lead."""
    folder = tmp_path_factory.mktemp("windows")
    rows = builders.write_mimic_tree(folder / "raw", 9, seed=4, n_samples=1000)
    path = folder / "raw" / rows[2]["path"]
    builders.write_record(path.parent, path.name, rows[2]["counts"], leads=builders.MIMIC_LEADS[:-1])
    recipe = builders.demo_recipe(max_missing_leads=1)
    store = build_store(resolve_recipe(recipe, "test"), folder / "raw", folder / "data").store
    ids = np.repeat(store.column("record_id"), 3).tolist()
    write_manifest(folder / "data" / "manifests" / "windows.tsv", ids, [400] * 27, starts=[0, 300, 600] * 9)
    return read_manifest(folder / "data" / "manifests" / "windows.tsv")


@pytest.fixture(scope="module")
def tokenizer(demo_data):
    return load_tokenizer(str(demo_data / "text_encoder"))


def test_windows_are_parts_of_their_records(windows):
    store, lacking = windows.store, []
    for index in range(len(windows)):
        row, start = divmod(index, 3)
        whole = store.signal_mv(row)[:, 300 * start : 300 * start + 400]
        np.testing.assert_array_equal(windows.signal_mv(index), whole)
        ecg = stored_ecg(windows, index)
        assert (
            ecg.values.dtype == np.int16
            and not ecg.values.flags.writeable
            and np.shares_memory(ecg.values, store.counts(row))
        )
        np.testing.assert_array_equal(batch_of([ecg], 400)[0][0].numpy(), np.nan_to_num(whole, nan=0.0))
        lacking += [row] if np.isnan(whole).any() else []
    assert lacking == [2, 2, 2]


def test_batches_of_windows_do_not_depend_on_workers(windows, tokenizer):
    options = EcgTextOptions(negative_ratio=0.0, crop_samples=350)
    data = EcgTextDataset(windows, tokenizer, options)
    loaders = [DataLoader(data, 8, collate_fn=data.collater, num_workers=number) for number in (0, 2)]
    for one, two in zip(*loaders, strict=True):
        for name in ("ecg", "text"):
            assert torch.equal(one["net_input"][name], two["net_input"][name])
        for name, values in one["target"].items():
            assert torch.equal(values, two["target"][name])
    first = data.collater([data[6]])  # the record without V6
    assert first["target"]["ecg_original"].shape == (1, 12, 350)
    assert not first["target"]["ecg_original"][0, 11].any() and first["target"]["ecg_original"][0, :11].any(-1).all()
    whole = np.nan_to_num(windows.signal_mv(6), nan=0.0)
    crops = [whole[:, at : at + 350] for at in range(51)]
    assert sum(np.array_equal(first["target"]["ecg_original"][0].numpy(), crop) for crop in crops) == 1


def test_crops_begin_everywhere_and_end_inside(windows, tokenizer):
    data = EcgTextDataset(windows, tokenizer, EcgTextOptions(negative_ratio=0.0, crop_samples=398))
    whole, seen = windows.signal_mv(0), set()
    for epoch in range(40):
        data.set_epoch(epoch)
        crop = data.ecg_batch([0], [data[0]["ecg"]])["ecg_original"][0].numpy()
        seen.add(next(at for at in range(3) if np.array_equal(crop, whole[:, at : at + 398])))
    assert seen == {0, 1, 2}
    longer = EcgTextDataset(windows, tokenizer, EcgTextOptions(negative_ratio=0.0, crop_samples=5000))
    assert longer.ecg_batch([0], [longer[0]["ecg"]])["ecg"].shape == (1, 12, 400)
