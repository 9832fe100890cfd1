"""A small store and a stand-in for a trained model, for the commands that need both."""

import pytest


@pytest.fixture(scope="session")
def demo_store_once(tmp_path_factory):
    """Store of 60 records of the demo corpus, built by the commands themselves; don't write into it."""
    from ecgtext_plugins.cli.main import main

    folder = tmp_path_factory.mktemp("demo")
    assert main(["demo-corpus", str(folder / "raw"), "--records", "60", "--workers", "1"]) == 0
    assert main(["manifest", "build", "demo", "--raw", str(folder / "raw"), "--dest", str(folder / "data")]) == 0
    return folder / "data"


@pytest.fixture
def demo_store(demo_store_once, tmp_path):
    """Copy of the small store, to write into."""
    import shutil

    return shutil.copytree(demo_store_once, tmp_path / "data")


@pytest.fixture
def stand_in(monkeypatch):
    """Put a small model in the place of `ecgtext_plugins.load`, which a test may inspect and change."""
    import torch

    import ecgtext_plugins

    class StandIn(torch.nn.Module):
        """Mean absolute voltage of each lead as embedding; a text's are the codes of its letters."""

        sample_rate, n_samples, config, checkpoint_sha256 = 100.0, 1000, {"model": {}}, "ab" * 32
        family, standardize, labels = "dbeta", False, None

        def encode_ecg(self, ecg):
            return ecg.abs().mean(2)

        def encode_text(self, texts):
            return torch.tensor([[float(text.count(letter)) for letter in "abcdefghijkl"] for text in texts])

    model = StandIn().eval()
    model.loaded = []

    def load(path, untrained_seed=None):
        model.loaded.append((str(path), untrained_seed))
        return model

    monkeypatch.setattr(ecgtext_plugins, "load", load)
    return model
