"""The release's defect, reproduced beside our batches: it must be there in the one and not in the other."""

import numpy as np
import pytest
import torch

from ecgtext_plugins.data.ecg_text_dataset import EcgTextDataset, EcgTextOptions
from ecgtext_plugins.negatives.sampler import NegativeSampler
from ecgtext_plugins.negatives.table import NegativesTable
from ecgtext_plugins.store.manifest import read_manifest
from ecgtext_plugins.text.encoders import load_tokenizer
from tests.data.lost_negatives import LosesNegatives


@pytest.mark.parametrize(("kind", "lost"), [(EcgTextDataset, False), (LosesNegatives, True)])
def test_what_a_swapped_row_shows(demo_data, kind, lost):
    manifest = read_manifest(demo_data / "manifests" / "train.tsv")
    table = NegativesTable.open(demo_data / "negatives", manifest.store)
    sampler = NegativeSampler(np.unique(manifest.store.column("report_id")[manifest.rows]), table)
    tokenizer = load_tokenizer(str(demo_data / "text_encoder"))
    data = kind(manifest, tokenizer, EcgTextOptions(score_negatives=True), sampler)
    batch = data.collater([data[index] for index in range(16)])
    text, target, padding = batch["net_input"]["text"], batch["target"], batch["net_input"]["text_padding_mask"]
    unmasked = torch.where(target["mlm_labels"] >= 0, target["mlm_labels"], text)
    assert (target["is_aligned"] == 0).sum() == 8
    for row in range(16):
        shown, own = (int(target[name][row]) for name in ("text_report_id", "report_id"))
        ids = tokenizer(manifest.store.report_text(own if lost else shown))["input_ids"][: text.shape[1]]
        assert unmasked[row, : len(ids)].tolist() == ids
        negative = tokenizer(manifest.store.report_text(shown))["input_ids"]
        assert int((~padding[row]).sum()) == len(negative)  # its mask is the negative's either way
