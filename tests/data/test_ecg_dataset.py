"""ECGs of stores and of fairseq-signals' files: standardised once, cropped, padded, drawn by seed, epoch and index."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ecgtext_plugins.data.cmsc_pairs import EcgPairs, adjacent_pairs, manifest_pairs
from ecgtext_plugins.data.ecg_dataset import EcgDataset, EcgOptions, standardised_leads
from ecgtext_plugins.data.lead_selection import lead_selection
from ecgtext_plugins.data.perturbations import PerturbationOptions
from ecgtext_plugins.data.windows import long_enough, patient_codes, recordings, windowed
from ecgtext_plugins.errors import BadConfig, BadManifest
from ecgtext_plugins.store.manifest import Manifest, read_manifest
from tests.downloads import fairseq_signals as download
from tests.store.fairseq_signals.stores import SHORT, V1_CONSTANT, V6_MISSING, small_store

NOISY = PerturbationOptions(modes=("random_leads_masking", "emg_noise"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def manifest(store):
    """All records of the store, in one manifest."""
    rows = np.arange(len(store))
    return Manifest(store.folder / "manifests" / "train.tsv", store, rows, store.column("n_samples")[rows])


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    raw = tmp_path_factory.mktemp("tree")
    rows = download.write_download(raw, 9, seed=4)
    download.write_manifests(raw, raw / "manifests", rows, f"\t{raw / 'segmented'}/")
    return raw, rows


def plain(signal):
    """Standardise lead by lead with numpy's nan functions."""
    wide = signal.astype(np.float64)
    with np.errstate(all="ignore"):
        std = np.nanstd(wide, axis=1, keepdims=True)
        flat = np.nanmax(wide, axis=1) == np.nanmin(wide, axis=1)
        out = (wide - np.nanmean(wide, axis=1, keepdims=True)) / std
    out[flat | np.isnan(wide).all(axis=1)] = 0
    return np.nan_to_num(out, nan=0.0)


@pytest.mark.filterwarnings("ignore:.*NaN slice.*:RuntimeWarning", "ignore:Mean of empty:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
def test_standardised_over_the_whole_record(store):
    for row in range(len(store)):
        signal = store.signal_mv(row)
        out = standardised_leads(signal)
        assert out.dtype == np.float32
        np.testing.assert_allclose(out, plain(signal), atol=2e-5)
    assert (standardised_leads(store.signal_mv(V6_MISSING))[11] == 0).all()
    assert (standardised_leads(store.signal_mv(V1_CONSTANT))[6] == 0).all()
    gaps = store.signal_mv(0).copy()
    gaps[3, 100:700] = np.nan
    np.testing.assert_allclose(standardised_leads(gaps), plain(gaps), atol=2e-5)


def test_windows_show_their_part_of_the_standardised_record(manifest):
    cut = windowed(manifest, 2500)
    data = EcgDataset(cut, EcgOptions())
    for index in range(len(data)):
        start = int(cut.starts[index])
        whole = standardised_leads(manifest.store.signal_mv(int(cut.rows[index])))
        np.testing.assert_array_equal(data.ecg(index), whole[:, start : start + 2500])
    in_mv = EcgDataset(cut, EcgOptions(standardize=False))
    np.testing.assert_array_equal(in_mv.ecg(1), np.nan_to_num(cut.signal_mv(1)))


def test_files_that_are_standardised_are_so_once(tree):
    raw, rows = tree
    manifest = read_manifest(raw / "manifests" / "train.tsv")
    data = EcgDataset(manifest, EcgOptions())
    for index in range(len(data)):
        np.testing.assert_array_equal(data.ecg(index), np.nan_to_num(manifest.signal_mv(index)))


def test_leads_are_zeroed_or_left_out_and_never_perturbed_back(manifest):
    everything = EcgDataset(manifest, EcgOptions()).ecg(0)
    three = EcgDataset(manifest, EcgOptions(leads=lead_selection("3", padded=True))).ecg(0)
    np.testing.assert_array_equal(three[[0, 1, 7]], everything[[0, 1, 7]])
    assert three.shape[0] == 12 and (np.delete(three, [0, 1, 7], axis=0) == 0).all()
    reduced = EcgDataset(manifest, EcgOptions(leads=lead_selection(leads=["V2", "I"])))
    np.testing.assert_array_equal(reduced.ecg(0), everything[[7, 0]])
    assert reduced.collater([reduced[0]])["net_input"]["ecg"].shape[:2] == (1, 2)
    noisy = EcgOptions(leads=lead_selection("2", padded=True), perturbations=PerturbationOptions(modes=("emg_noise",)))
    out = EcgDataset(manifest, noisy).ecg(0)
    assert (out[2:] == 0).all() and not np.array_equal(out[:2], everything[:2])
    drawn = EcgDataset(manifest, EcgOptions(leads=lead_selection(bucket=[6, 7, 8]), seed=5))
    assert all(any(np.array_equal(drawn.ecg(0)[0], everything[lead]) for lead in (6, 7, 8)) for _ in range(2))


def test_normalize(manifest):
    data = EcgDataset(manifest, EcgOptions(standardize=False, normalize=True))
    signal = torch.from_numpy(np.nan_to_num(manifest.signal_mv(0)))
    expected = torch.nn.functional.layer_norm(signal, signal.shape)
    np.testing.assert_allclose(data.ecg(0), expected.numpy(), atol=1e-4)
    moments = np.arange(12.0), np.full(12, 2.0)
    data = EcgDataset(manifest, EcgOptions(standardize=False, normalize=True, moments=moments))
    np.testing.assert_allclose(data.ecg(0)[3], (signal[3].numpy() - 3) / 2, atol=1e-6)


def test_crop_and_padding(manifest):
    lengths = manifest.n_samples
    assert SHORT in manifest.rows and len(set(lengths)) == 2
    padded = EcgDataset(manifest, EcgOptions(enable_padding=True))
    batch = padded.collater([padded[index] for index in range(len(padded))])
    mask = batch["net_input"]["ecg_padding_mask"].numpy()
    assert (mask.sum(axis=1) == lengths.max() - lengths).all() and batch["ntokens"] == lengths.sum()
    assert (batch["net_input"]["ecg"].numpy()[np.repeat(mask[:, None], 12, axis=1)] == 0).all()
    shortest = EcgDataset(manifest, EcgOptions())
    batch = shortest.collater([shortest[index] for index in range(len(shortest))])
    assert batch["net_input"]["ecg"].shape == (len(manifest), 12, lengths.min())
    assert batch["net_input"]["ecg_padding_mask"] is None
    cropped = EcgDataset(manifest, EcgOptions(enable_padding=True, max_sample_size=1700))
    whole = cropped.ecg(0)
    places = set()
    for epoch in range(1, 30):
        cropped.set_epoch(epoch)
        ecg = cropped.collater([cropped[0]])["net_input"]["ecg"][0].numpy()
        assert ecg.shape == (12, 1700)
        starts = [s for s in range(whole.shape[1] - 1699) if whole[0, s] == ecg[0, 0]]
        found = [start for start in starts if np.array_equal(whole[:, start : start + 1700], ecg)]
        assert found
        places.add(found[0])
    assert len(places) > 20
    assert cropped.sizes.tolist() == np.minimum(lengths, 1700).tolist() and cropped.collater([]) == {}


def flat(batch):
    out = {"id": batch["id"], **batch["net_input"], **batch["target"]}
    return {name: value for name, value in out.items() if value is not None}


def same(one, other):
    one, other = flat(one), flat(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("pairs", [False, True])
def test_draws_depend_on_seed_epoch_and_index_alone(manifest, pairs):
    def dataset(**options):
        cut = windowed(long_enough(manifest, 2500), 2500) if pairs else manifest
        ecgs = EcgDataset(cut, EcgOptions(perturbations=NOISY, max_sample_size=2000, **options))
        return EcgPairs(ecgs, manifest_pairs(cut)) if pairs else ecgs

    def batches(data, workers=0, epoch=2):
        data.set_epoch(epoch)
        return list(DataLoader(data, batch_size=2, num_workers=workers, collate_fn=data.collater))

    first = batches(dataset())
    assert len(first) > 1
    resumed = batches(pickle.loads(pickle.dumps(dataset())))
    for other in (batches(dataset()), batches(dataset(), workers=2), resumed):
        assert all(map(same, first, other))
    assert not same(first[0], batches(dataset(), epoch=3)[0])
    assert not same(first[0], batches(dataset(seed=9))[0])
    turned = dataset()
    turned.set_epoch(2)
    alone = turned.collater([turned[1]])["net_input"]["ecg"]
    rows = slice(2, 4) if pairs else slice(1, 2)
    assert torch.equal(alone, first[0]["net_input"]["ecg"][rows])


def test_a_worker_kept_over_epochs_sees_the_epoch(manifest):
    data = EcgDataset(manifest, EcgOptions(perturbations=NOISY))
    loader = DataLoader(data, 2, num_workers=1, persistent_workers=True, collate_fn=data.collater)
    seen = []
    for epoch in (1, 2):
        data.set_epoch(epoch)
        seen.append(list(loader)[0])
    assert not same(*seen)


def test_pairs_against_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(30):
        record = rng.integers(0, 6, 40)
        starts = rng.choice(12, 40) * 100
        kept = np.unique(np.stack([record, starts]), axis=1, return_index=True)[1]
        record, starts = record[rng.permutation(kept)], starts[rng.permutation(kept)]
        _, kept = np.unique(np.stack([record, starts]), axis=1, return_index=True)
        record, starts = record[kept], starts[kept]
        lengths = np.full(len(record), 100)
        expected = []
        for one in sorted(set(record.tolist())):
            free = sorted((int(start), place) for place, start in enumerate(starts) if record[place] == one)
            while free:
                start, place = free.pop(0)
                if free and free[0][0] == start + 100:
                    expected.append((place, free.pop(0)[1]))
        assert adjacent_pairs(record, starts, lengths).tolist() == [list(pair) for pair in expected]
    overlapping = adjacent_pairs(np.zeros(5, int), np.arange(5) * 50, np.full(5, 100))
    assert overlapping.tolist() == [[0, 2], [1, 3]]


def test_pairs_of_a_stores_records(manifest):
    cut = windowed(manifest, 2500)
    data = EcgPairs(EcgDataset(cut, EcgOptions()), manifest_pairs(cut))
    assert len(data) == (manifest.n_samples >= 5000).sum() and (data.sizes == 5000).all()
    batch = data.collater([data[index] for index in range(len(data))])
    target, ecg = batch["target"], batch["net_input"]["ecg"].numpy()
    assert ecg.shape == (2 * len(data), 12, 2500) and batch["nsentences"] == 2 * len(data)
    assert target["segment"].tolist() == [0, 1] * len(data)
    assert torch.equal(target["record"][::2], target["record"][1::2])
    patients = manifest.store.column("patient_id")[target["record"].numpy()]
    same_patient = target["patient_id"][:, None] == target["patient_id"]
    assert np.array_equal(same_patient.numpy(), patients[:, None] == patients)
    assert target["mask_seed"].min() >= 0 and len(target["mask_seed"].unique()) == 2 * len(data)
    for place, record in enumerate(target["record"][::2].tolist()):
        whole = standardised_leads(manifest.store.signal_mv(record))
        np.testing.assert_array_equal(ecg[2 * place], whole[:, :2500])
        np.testing.assert_array_equal(ecg[2 * place + 1], whole[:, 2500:5000])
    assert [manifest.store.column("record_id")[r] for r in target["record"]] == [
        data.manifest.record_id(int(index)) for index in batch["id"]
    ]
    with pytest.raises(BadManifest, match="no two adjacent windows of one record.*task.segment_samples"):
        manifest_pairs(manifest)
    with pytest.raises(BadConfig, match="lists windows already"):
        windowed(cut, 1000)
    with pytest.raises(BadConfig, match="no record of .* is that long .the longest has 6200"):
        windowed(manifest, 9000)


def test_both_segments_are_masked_independently(manifest):
    cut = windowed(long_enough(manifest, 5000), 2500)
    masked = EcgOptions(perturbations=PerturbationOptions(modes=("random_leads_masking",)))
    for pairs in (manifest_pairs(cut), None):
        data = EcgPairs(EcgDataset(cut, masked), pairs)
        hidden = []
        for epoch in range(1, 40):
            data.set_epoch(epoch)
            ecg = data.collater([data[0], data[1]])["net_input"]["ecg"]
            hidden.append((ecg == 0).all(dim=2).numpy())
        hidden = np.array(hidden)
        agree = (hidden[:, ::2] == hidden[:, 1::2]).mean()
        assert 0.4 < agree < 0.6 and 0.4 < hidden.mean() < 0.62


def test_two_views_are_of_one_ecg(manifest):
    data = EcgPairs(EcgDataset(manifest, EcgOptions()))
    batch = data.collater([data[index] for index in range(3)])
    assert torch.equal(batch["net_input"]["ecg"][::2], batch["net_input"]["ecg"][1::2])
    assert batch["id"].tolist() == [0, 0, 1, 1, 2, 2]


def test_fairseq_signals_pairs_and_recordings(tree):
    raw, rows = tree
    cmsc = read_manifest(raw / "manifests" / "cmsc" / "train.tsv")
    pairs = manifest_pairs(cmsc)
    names = [[cmsc.record_id(place) for place in pair] for pair in pairs]
    expected = [row for row in rows if row["split"] == "train" and row["windows"] > 1]
    assert names == [[f"{row['name']}_0", f"{row['name']}_1"] for row in expected]
    data = EcgPairs(EcgDataset(cmsc, EcgOptions()), pairs)
    batch = data.collater([data[index] for index in range(len(data))])
    assert torch.equal(batch["target"]["patient_id"][::2], batch["target"]["patient_id"][1::2])
    assert len(batch["target"]["patient_id"].unique()) == len(expected)
    # the plain manifest of the same files gives the same pairs, by idx and segment_i
    listed = read_manifest(raw / "manifests" / "train.tsv")
    assert [[listed.record_id(place) for place in pair] for pair in manifest_pairs(listed)] == names
    of = recordings(listed)
    idx = listed.store.column("idx")
    assert (idx[of] == idx[listed.rows]).all() and len(np.unique(of)) == len(np.unique(idx[listed.rows]))
    with pytest.raises(BadManifest, match="of at least 3000 samples"):
        manifest_pairs(cmsc, 3000)


def test_min_sample_size(manifest, caplog):
    with caplog.at_level("INFO"):
        kept = long_enough(manifest, 5000)
    assert SHORT not in kept.rows and len(kept) == len(manifest) - 1 and "1 ECGs of fewer than 5000" in caplog.text
    assert long_enough(manifest, None) is manifest
    with pytest.raises(BadManifest, match="all of fewer than 9000 samples"):
        long_enough(manifest, 9000)


def test_a_recording_without_a_patient_is_one_of_its_own(manifest):
    import pyarrow as pa

    class Store:
        def text_column(self, name):
            return pa.array(["a", None, "", "a", "b"])

    codes = patient_codes(dataclasses.replace(manifest, store=Store()), np.array([0, 1, 1, 2, 3, 4]))
    assert codes[1] == codes[2] and codes[0] == codes[4] and len(set(codes.tolist())) == 4
