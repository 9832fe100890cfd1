"""The quantiser against fairseq's: values, gradients and perplexities, in evaluation and training."""

import pytest
import torch

from ecgtext_plugins.modules.gumbel_quantizer import GumbelQuantizer, perplexity


@pytest.fixture
def pair():
    from fairseq.modules import GumbelVectorQuantizer

    torch.manual_seed(0)
    ours = GumbelQuantizer(8, 5, 3, 12, (2.0, 0.5, 0.9))
    theirs = GumbelVectorQuantizer(8, 5, (2.0, 0.5, 0.9), 3, False, 12, True)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("training", [False, True])
def test_equals_fairseq(pair, training):
    frames = torch.randn(4, 7, 8)
    results = []
    for module in pair:
        module.train(training).set_num_updates(3)
        leaf = frames.clone().requires_grad_()
        torch.manual_seed(1)
        out = module(leaf)
        vectors = out["x"] if isinstance(out, dict) else out.vectors
        scores = [out[k] if isinstance(out, dict) else getattr(out, k) for k in ("prob_perplexity", "code_perplexity")]
        loss = vectors.square().sum() + scores[0]
        gradients = torch.autograd.grad(loss, [leaf, *module.parameters()])
        results.append([vectors, *scores, *gradients])
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_codes_name_their_vectors(pair):
    quantizer = pair[0].eval()
    out = quantizer(torch.randn(4, 7, 8))
    assert torch.equal(quantizer.vectors_of(out.codes), out.vectors)
    assert out.code_probabilities.shape == (3, 5)
    assert torch.allclose(out.code_probabilities.sum(1), torch.ones(3))
    assert perplexity(out.code_probabilities) == out.prob_perplexity
    assert torch.equal(quantizer.vectors_of(torch.arange(125)), pair[1].codebook())


def test_temperature_and_sizes(pair):
    quantizer = pair[0]
    assert quantizer.temperature == 2.0 and quantizer.n_entries == 15
    quantizer.set_num_updates(2)
    assert quantizer.temperature == pytest.approx(1.62)
    quantizer.set_num_updates(100)
    assert quantizer.temperature == 0.5
    with pytest.raises(ValueError, match="latent_groups=3"):
        GumbelQuantizer(8, 5, 3, 10, (2.0, 0.5, 0.9))
    with pytest.raises(ValueError, match="latent_temp"):
        GumbelQuantizer(8, 5, 3, 12, (2.0, 0.5))
