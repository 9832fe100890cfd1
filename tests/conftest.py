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
