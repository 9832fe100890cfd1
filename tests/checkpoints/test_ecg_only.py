"""The ECG tower alone: the features of the whole model, of fewer weights and without transformers."""

import hashlib
import shutil
import subprocess
import sys

import pytest
import torch

import ecgtext_plugins
from ecgtext_plugins.checkpoints.load import load_model
from ecgtext_plugins.errors import BadCheckpoint, TextEncoderUnavailable
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.ecg_tower import EcgTower
from tests.checkpoints.tiny import ecgs

SECOND = "import sys, torch, ecgtext_plugins; m = ecgtext_plugins.load(sys.argv[1], ecg_only=True); "
SECOND += "m.encode_ecg(torch.zeros(1, 12, 400)); "
SECOND += "print([n for n in ('transformers', 'tokenizers', 'fairseq', 'huggingface_hub') if n in sys.modules])"


@pytest.fixture(params=["released", "trained"])
def path(request):
    return request.getfixturevalue(request.param)


def test_same_features_of_fewer_parameters(path):
    whole, tower = load_model(path), load_model(path, ecg_only=True)
    assert type(tower.model) is EcgTower and not tower.training
    assert torch.equal(tower.encode_ecg(ecgs()), whole.encode_ecg(ecgs()))
    own = dict(tower.model.named_parameters())
    prefixes = ("class_embedding", "ecg_encoder.", "multi_modal_ecg_proj.", "unimodal_ecg_pooler.")
    expected = {name: value for name, value in whole.model.named_parameters() if name.startswith(prefixes)}
    assert own.keys() == expected.keys() and all(torch.equal(own[name], expected[name]) for name in own)
    assert sum(value.numel() for value in own.values()) < sum(value.numel() for value in whole.parameters()) / 1.5
    assert (tower.sample_rate, tower.n_samples) == (whole.sample_rate, whole.n_samples)
    assert tower.checkpoint_sha256 == whole.checkpoint_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_share_of_the_release():
    """Of the release's 321,387,330 parameters the tower has 63,203,712: encoder, class token, projection, pooler."""
    with torch.device("meta"):
        tower = EcgTower(DBetaConfig())
    assert sum(value.numel() for value in tower.parameters()) == 62_021_760 + 768 + 2 * 590_592


def test_texts_are_refused_with_the_remedy(path):
    with pytest.raises(TextEncoderUnavailable, match="load it without ecg_only"):
        load_model(path, ecg_only=True).encode_text(["sinus rhythm"])


def test_transformers_is_not_imported(path):
    done = subprocess.run([sys.executable, "-c", SECOND, str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stdout + done.stderr[-2000:]


def test_what_the_other_weights_hold_does_not_matter(path, tmp_path):
    state = torch.load(path, weights_only=True)
    for key, value in state["model"].items():
        if key.startswith(("mlm_head", "multi_modal_language", "language_encoder")):
            state["model"][key] = torch.full_like(value, torch.nan)
    torch.save(state, tmp_path / "nan.pt")
    loaded = load_model(tmp_path / "nan.pt", ecg_only=True)
    assert torch.equal(loaded.encode_ecg(ecgs()), load_model(path).encode_ecg(ecgs()))


def test_keys_of_the_tower_are_strict(path, tmp_path):
    state = torch.load(path, weights_only=True)
    del state["model"]["unimodal_ecg_pooler.dense.weight"], state["model"]["itm_head.fc.bias"]
    state["model"]["ecg_encoder.extra"] = torch.zeros(1)
    torch.save(state, tmp_path / "bad.pt")
    said = "1 missing: unimodal_ecg_pooler.dense.weight; 1 unexpected: ecg_encoder.extra; expected those of EcgTower"
    with pytest.raises(BadCheckpoint, match=said):
        load_model(tmp_path / "bad.pt", ecg_only=True)


def test_digest_of_a_file_that_was_written_over_is_refused(path, tmp_path):
    copy = shutil.copyfile(path, tmp_path / "checkpoint_last.pt")
    tower, whole = load_model(copy, ecg_only=True), load_model(copy)
    copy.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BadCheckpoint, match="has changed since"):
        _ = tower.checkpoint_sha256
    assert whole.checkpoint_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_untrained_tower_is_reproducible(path):
    one, two = (load_model(path, 3, ecg_only=True).encode_ecg(ecgs()) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.allclose(one, load_model(path, ecg_only=True).encode_ecg(ecgs()))
    assert torch.equal(ecgtext_plugins.load(path, untrained_seed=3, ecg_only=True).encode_ecg(ecgs()), one)
