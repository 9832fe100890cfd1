"""A tiny text encoder, and a tiny D-BETA with it, released and trained."""

import pytest

from tests.checkpoints.tiny import save_released, save_trained, tiny_dbeta
from tests.text.tiny_encoders import tiny_t5


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory):
    return tiny_t5(tmp_path_factory.mktemp("text") / "encoder")


@pytest.fixture(scope="session")
def dbeta(text_folder):
    return tiny_dbeta(text_folder)


@pytest.fixture(scope="session")
def released(dbeta, tmp_path_factory):
    return save_released(tmp_path_factory.mktemp("released") / "sample.pt", dbeta)


@pytest.fixture(scope="session")
def trained(dbeta, text_folder, tmp_path_factory):
    return save_trained(tmp_path_factory.mktemp("trained") / "checkpoint_last.pt", dbeta, text_folder)
