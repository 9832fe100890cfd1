"""Zero-shot classifier: dot and cosine, several prompts a class."""

import numpy as np
import pytest
import torch

from ecgtext_plugins.errors import BadCheckpoint
from ecgtext_plugins.evaluation.zero_shot import build_zero_shot_classifier

VECTORS = {"a": [3.0, 0.0], "b": [0.0, 0.5], "c": [0.0, 0.0], "bad": [np.nan, 0.0]}


class FakeModel:
    def __init__(self, **model_config):
        self.config = {"model": model_config}

    def encode_text(self, texts):
        return torch.tensor([VECTORS[text] for text in texts])


def test_dot_product_as_published():
    classifier = build_zero_shot_classifier(FakeModel(), {"first": "a", "both": ["a", "b"]})
    assert classifier.names == ["first", "both"] and classifier.similarity == "dot"
    np.testing.assert_allclose(classifier.scores(np.array([[1, 2], [-1, 0]])), [[3, 2], [-3, -1.5]])


def test_cosine_ignores_every_length():
    classifier = build_zero_shot_classifier(
        FakeModel(ets_normalize=True), {"first": "a", "both": ["a", "b"], "zero": "c"}
    )
    scores = classifier.scores(np.array([[5.0, 0.0], [0.1, 0.1], [0.0, 0.0]]))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(scores, [[1, half, 0], [half, 1, 0], [0, 0, 0]], atol=1e-6)
    assert classifier.similarity == "cosine"


def test_centred_prompts_do_not_see_what_all_share():
    prompts = {"first": "a", "second": "b"}
    plain = build_zero_shot_classifier(FakeModel(), prompts)
    centred = build_zero_shot_classifier(FakeModel(), prompts, center=True)
    embeddings = np.array([[1.0, 2.0], [-3.0, 0.5]])
    scores = plain.scores(embeddings)
    np.testing.assert_allclose(centred.scores(embeddings), scores - scores.mean(axis=1, keepdims=True), atol=1e-6)


def test_prompt_that_is_not_finite_names_the_class():
    with pytest.raises(BadCheckpoint, match="prompt of class worse is not finite"):
        build_zero_shot_classifier(FakeModel(ets_normalize=False), {"fine": "a", "worse": ["b", "bad"]})
