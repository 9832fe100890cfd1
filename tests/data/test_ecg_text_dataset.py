"""The batch contract on a real store: swaps before masks, draws by (seed, epoch, index)."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from ecgtext_plugins.data.ecg_batch import StoredEcg, stored_ecg
from ecgtext_plugins.data.ecg_text_dataset import EcgTextDataset, EcgTextOptions
from ecgtext_plugins.errors import BadManifest
from ecgtext_plugins.negatives.sampler import NegativeSampler
from ecgtext_plugins.negatives.table import NegativesTable
from ecgtext_plugins.store.manifest import read_manifest
from ecgtext_plugins.text.encoders import load_tokenizer


@pytest.fixture(scope="module")
def parts(demo_data):
    manifest = read_manifest(demo_data / "manifests" / "train.tsv")
    negatives = NegativesTable.open(demo_data / "negatives", manifest.store)
    candidates = np.unique(manifest.store.column("report_id")[manifest.rows])
    return manifest, load_tokenizer(str(demo_data / "text_encoder")), NegativeSampler(candidates, negatives)


def dataset(parts, **options):
    manifest, tokenizer, negatives = parts
    return EcgTextDataset(manifest, tokenizer, EcgTextOptions(**options), negatives)


def batch(data, indices=tuple(range(16)), epoch=1):
    data.set_epoch(epoch)
    return data.collater([data[index] for index in indices])


def flat(sample, prefix=""):
    for key, value in sample.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def equal(one, other):
    one, other = dict(flat(one)), dict(flat(other))
    return all(
        torch.equal(value, other[key]) if torch.is_tensor(value) else value == other[key] for key, value in one.items()
    )


def test_contract(parts):
    data = dataset(parts)
    sample = batch(data)
    net, target, samples = sample["net_input"], sample["target"], int(parts[0].n_samples[0])
    assert net["ecg"].shape == target["ecg_original"].shape == (16, 12, samples) and net["ecg"].dtype == torch.float32
    assert net["ecg_padding_mask"] is None and net["text"].dtype == torch.int64
    assert net["text"].shape == net["text_padding_mask"].shape == target["mlm_labels"].shape
    assert sample["nsentences"] == 16 and sample["ntokens"] == int((~net["text_padding_mask"]).sum())
    hidden = target["lead_mask"]
    assert (net["ecg"][hidden] == 0).all()
    assert torch.equal(net["ecg"][~hidden], target["ecg_original"][~hidden])
    assert target["ecg_original"].abs().sum(-1).min() > 0
    for place in range(16):
        row = parts[0].rows[int(sample["id"][place])]
        assert np.array_equal(target["ecg_original"][place].numpy(), parts[0].store.signal_mv(row))
    lengths = (~net["text_padding_mask"]).sum(1)
    assert torch.equal(lengths, lengths.sort().values) and sorted(sample["id"].tolist()) == list(range(16))
    assert torch.equal(target["mlm_scored"], target["mlm_labels"][target["mlm_labels"] >= 0])


def test_copies_of_a_report_share_its_masks_and_are_encoded_once(parts):
    """Rows that show the same report, own or as a negative, in a batch made of a few reports."""
    report = parts[0].store.column("report_id")[parts[0].rows]
    common = np.bincount(report).argsort()[-3:]
    indices = [int(i) for i in np.flatnonzero(np.isin(report, common))[:12]]
    sample = batch(dataset(parts, mlm_prob=0.5), indices)
    plan, shown, text = (
        sample["net_input"]["text_plan"],
        sample["target"]["text_report_id"],
        sample["net_input"]["text"],
    )
    assert len(plan["rows"]) == len(set(shown.tolist())) < len(indices)
    assert torch.equal(shown[plan["rows"]][plan["place"]], shown)
    assert torch.equal(text[plan["rows"]][plan["place"]], text)
    each = batch(dataset(parts, mlm_prob=0.5, distinct_reports_once=False), indices)
    assert len(each["net_input"]["text_plan"]["rows"]) == len(indices)
    assert not torch.equal(each["net_input"]["text"], text)


def test_ecgs_of_several_lengths_are_padded_or_cropped(parts):
    manifest = parts[0]
    ecgs = [StoredEcg(stored_ecg(manifest, i).values[:, :n], 0.005) for i, n in enumerate((300, 200, 120))]
    padded = dataset(parts, lead_mask_prob=0.0).ecg_batch([0, 1, 2], ecgs)
    assert padded["ecg"].shape == (3, 12, 300)
    assert (~padded["padding"]).sum(1).tolist() == [300, 200, 120]
    for place, ecg in enumerate(ecgs):
        n = ecg.values.shape[1]
        alone = dataset(parts, lead_mask_prob=0.0).ecg_batch([place], [ecg])
        assert alone["padding"] is None
        assert torch.equal(padded["ecg_original"][place, :, :n], alone["ecg_original"][0])
        assert not padded["ecg"][place, :, n:].any() and not padded["padding"][place, :n].any()
    cropped = dataset(parts, pad_ecgs=False).ecg_batch([0, 1, 2], ecgs)
    assert cropped["ecg"].shape == (3, 12, 120) and cropped["padding"] is None
    both = dataset(parts, crop_samples=150).ecg_batch([0, 1, 2], ecgs)
    assert (~both["padding"]).sum(1).tolist() == [150, 150, 120]


def test_conditional_lead_masks(parts):
    hidden = torch.cat(
        [batch(dataset(parts, lead_mask_condition=(4, 5)), epoch=e)["target"]["lead_mask"] for e in range(40)]
    )
    assert (hidden[:, :6].sum(1) == 4).all() and (hidden[:, 6:].sum(1) == 5).all()
    assert torch.allclose(hidden.float().mean(0), torch.tensor([4 / 6] * 6 + [5 / 6] * 6), atol=0.1)


def test_swapped_text_survives_masking(parts):
    """The release loses the swap when it masks; here, undoing the mask gives the swapped report's own ids."""
    data = dataset(parts, score_negatives=True)
    tokenizer, store = parts[1], parts[0].store
    sample = batch(data)
    target, text = sample["target"], sample["net_input"]["text"]
    assert int((target["is_aligned"] == 0).sum()) == 8
    assert torch.equal(target["is_aligned"] == 1, target["report_id"] == target["text_report_id"])
    unmasked = torch.where(target["mlm_labels"] >= 0, target["mlm_labels"], text)
    for row, padding, report in zip(
        unmasked, sample["net_input"]["text_padding_mask"], target["text_report_id"], strict=True
    ):
        assert row[~padding].tolist() == tokenizer(store.report_text(int(report)))["input_ids"]
    assert (target["mlm_labels"] >= 0).any()
    scored_negatives = (target["mlm_labels"][target["is_aligned"] == 0] >= 0).sum()
    assert scored_negatives > 0
    ignored = batch(dataset(parts))["target"]
    assert (ignored["mlm_labels"][ignored["is_aligned"] == 0] < 0).all()


@pytest.mark.parametrize(("ratio", "counts"), [(0.5, {7, 8}), (0.0, {0}), (1.0, {15})])
def test_share_of_negatives_is_the_release_rounding(parts, ratio, counts):
    data = dataset(parts, negative_ratio=ratio)
    found = [int((batch(data, range(15), epoch)["target"]["is_aligned"] == 0).sum()) for epoch in range(1, 40)]
    assert set(found) == counts


def test_draws_depend_on_seed_epoch_and_index_alone(parts):
    data = dataset(parts)
    first = batch(data)
    batch(data, range(20, 30), epoch=5)
    np.random.seed(1)
    assert equal(first, batch(data))
    assert equal(first, batch(pickle.loads(pickle.dumps(dataset(parts)))))
    for other in (batch(data, epoch=2), batch(dataset(parts, seed=2))):
        assert not torch.equal(first["target"]["lead_mask"], other["target"]["lead_mask"])
        assert not torch.equal(first["target"]["text_report_id"], other["target"]["text_report_id"])
    few, rows = batch(data, (3, 2, 1, 0)), {int(index): row for row, index in enumerate(first["id"])}
    places = [rows[int(index)] for index in few["id"]]
    assert torch.equal(few["target"]["lead_mask"], first["target"]["lead_mask"][places])


def test_crop_and_shuffled_reports(parts):
    whole = int(parts[0].n_samples[0])
    data = dataset(parts, crop_samples=whole // 2)
    one, two = batch(data)["target"]["ecg_original"], batch(data, epoch=2)["target"]["ecg_original"]
    assert one.shape[-1] == whole // 2 and not torch.equal(one, two)
    shuffled, straight = dataset(parts, shuffle_reports=True), dataset(parts)
    everything, own = list(range(len(straight))), {}
    for epoch in (1, 2):
        shuffled.set_epoch(epoch)
        own[epoch] = shuffled.own_reports(everything)
        assert sorted(own[epoch]) == sorted(straight.own_reports(everything))
        assert (own[epoch] != straight.report_id).mean() > 0.5
    assert (own[1] != own[2]).mean() > 0.5
    shuffled.set_epoch(1)
    assert np.array_equal(shuffled.own_reports(everything), own[1])


def test_refusals(parts):
    manifest, tokenizer, negatives = parts
    with pytest.raises(ValueError, match="needs a sampler of negatives"):
        EcgTextDataset(manifest, tokenizer, EcgTextOptions(), None)
    empty = dataclasses.replace(manifest, rows=manifest.rows[:0], n_samples=manifest.n_samples[:0], starts=None)
    with pytest.raises(BadManifest, match="lists no record"):
        EcgTextDataset(empty, tokenizer, EcgTextOptions(), negatives)
