"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real recordings and golden numbers (environment variable ECGTEXT_SHARED); skips where it is not set."""
    folder = os.environ.get("ECGTEXT_SHARED")
    if not folder:
        pytest.skip("ECGTEXT_SHARED is not set: real recordings and golden numbers are not here")
    if not (Path(folder) / "golden").is_dir():
        pytest.fail(f"ECGTEXT_SHARED={folder} has no folder golden")
    return Path(folder)


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory) -> Path:
    """Store, manifests, scratch text encoder and negatives of a small demo corpus, made by the commands."""
    from ecgtext_plugins.cli.main import main

    folder = tmp_path_factory.mktemp("demo")
    raw, data = str(folder / "raw"), str(folder / "data")
    assert main(["demo-corpus", raw, "--records", "120", "--seed", "3", "--workers", "1"]) == 0
    assert main(["manifest", "build", "demo", "--raw", raw, "--dest", data, "--workers", "1"]) == 0
    assert (
        main(
            [
                "negatives",
                "build",
                data,
                "--text-encoder",
                "scratch",
                "--scratch-width",
                "32",
                "--scratch-layers",
                "1",
                "--vocab-size",
                "300",
            ]
        )
        == 0
    )
    return folder / "data"
