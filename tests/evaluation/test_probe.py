"""The linear probe: batched heads against heads alone and torch's own Adam, selection, subsets, empty classes."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ecgtext_plugins.errors import BadConfig, BadManifest
from ecgtext_plugins.evaluation.probe import linear_probe, standardized
from ecgtext_plugins.evaluation.probe_training import ProbeRecipe, rank_areas, train_heads, with_bias
from ecgtext_plugins.store.subsets import nested_subset

WIDTH, CLASSES, SEEDS = 24, 4, (0, 3)
SHORT = ProbeRecipe(epochs=4, batch_size=16)


def planted(n, seed, noise=2.5):
    """Embeddings and labels that a linear layer can tell, (n, WIDTH) and (n, CLASSES)."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).standard_normal((WIDTH, CLASSES))
    embeddings = rng.standard_normal((n, WIDTH)).astype(np.float32)
    return embeddings, embeddings @ directions + noise * rng.standard_normal((n, CLASSES)) > 2.0


def splits(n=1500, noise=2.5):
    (train, train_labels), (valid, valid_labels) = planted(n, 1, noise), planted(400, 2, noise)
    test, test_labels = planted(600, 3, noise)
    return (train, train_labels, valid, valid_labels, test), test_labels


def subsets(n):
    ids = [f"r{number}" for number in range(n)]
    return {f"train_{share}pct": nested_subset(ids, share, 0) for share in (2, 10, 100)}


def test_planted_signal_is_recovered_and_more_labels_help():
    given, test_labels = splits(noise=1.0)
    result = linear_probe(*given, subsets=subsets(1500), seeds=SEEDS, recipe=ProbeRecipe(learning_rate=1e-2, epochs=40))
    figures = result.figures(test_labels)
    assert figures.mean[2] > 0.95 and figures.mean[0] > 0.7
    assert figures.mean[0] < figures.mean[1] < figures.mean[2]
    assert result.scores.shape == (3, 2, 600, CLASSES) and result.n_train[:, 0].tolist() == [30, 150, 1500]


def test_labels_without_signal_give_one_half():
    (train, _, valid, _, test), test_labels = splits()
    rng = np.random.default_rng(5)
    noise = [rng.random((len(part), CLASSES)) < 0.3 for part in (train, valid)]
    figures = linear_probe(train, noise[0], valid, noise[1], test, subsets={"all": np.arange(1500)}, recipe=SHORT)
    assert abs(figures.figures(rng.permutation(test_labels)).mean[0] - 0.5) < 0.05


def test_each_head_alone_is_the_same_bit_for_bit():
    given, _ = splits(300)
    rows = subsets(300)
    together = linear_probe(*given, subsets=rows, seeds=SEEDS, recipe=SHORT)
    for s, name in enumerate(rows):
        for r, seed in enumerate(SEEDS):
            alone = linear_probe(*given, subsets={name: rows[name]}, seeds=[seed], recipe=SHORT)
            assert np.array_equal(alone.scores[0, 0], together.scores[s, r])
            assert np.array_equal(alone.curve[0, 0], together.curve[s, r])
            assert alone.chosen[0, 0] == together.chosen[s, r]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_head_is_that_of_torchs_layer_loss_and_optimizer(decay, monkeypatch):
    from ecgtext_plugins.evaluation import probe_training

    recipe = dataclasses.replace(SHORT, weight_decay=decay)
    (train, labels, valid, valid_labels, _), _ = splits(90)
    rows = np.arange(5, 83)  # 78: the last batch has 14
    orders = [np.random.default_rng(epoch).permutation(len(rows)) for epoch in range(recipe.epochs)]

    class Fixed:
        def __init__(self, epoch):
            self.epoch = epoch

        def permutation(self, n):
            return orders[self.epoch]

    monkeypatch.setattr(probe_training, "generator", lambda purpose, seed, epoch, *keys: Fixed(epoch))
    judged = np.ones((1, CLASSES), dtype=bool)
    tensors = with_bias(train), torch.from_numpy(np.float32(labels)), with_bias(valid)
    heads = train_heads(*tensors, valid_labels, [rows], judged, [7], recipe)
    layer, curve, states = torch.nn.Linear(WIDTH, CLASSES), [], []
    bound, source = WIDTH**-0.5, torch.Generator().manual_seed(7)
    start = torch.empty(CLASSES, WIDTH + 1).uniform_(-bound, bound, generator=source)
    layer.load_state_dict({"weight": start[:, :-1], "bias": start[:, -1]})
    optimizer = torch.optim.Adam(layer.parameters(), lr=recipe.learning_rate, weight_decay=decay)
    for order in orders:
        for begin in range(0, len(rows), recipe.batch_size):
            batch = rows[order[begin : begin + recipe.batch_size]]
            loss = torch.nn.BCEWithLogitsLoss()(layer(torch.from_numpy(train[batch])), tensors[1][batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scores = layer(torch.from_numpy(valid)).detach().numpy()
        curve.append(roc_auc_score(valid_labels, scores, average="macro"))
        states.append(torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach().clone())
    assert np.allclose(heads.curve[0], curve, atol=1e-4)
    assert torch.allclose(heads.weights[0], states[heads.best_epoch[0] - 1], atol=1e-6)
    assert heads.best_epoch[0] == int(np.argmax(heads.curve[0])) + 1


def test_the_best_epoch_on_validation_is_kept_and_nothing_of_test_is_looked_at():
    given, test_labels = splits(300)
    result = linear_probe(*given, subsets=subsets(300), seeds=SEEDS, recipe=SHORT)
    for s in range(3):
        for r in range(2):
            assert result.chosen[s, r] == result.curve[s, r].argmax() + 1
            classes, scores = np.flatnonzero(result.taught[s, r]), result.valid_scores[s, r]
            macro = np.mean([roc_auc_score(given[3][:, k], scores[:, k]) for k in classes])
            assert result.valid_macro[s, r] == pytest.approx(macro, abs=1e-12)
    before = json.dumps(result.description()), result.scores.copy()
    shuffled = np.random.default_rng(0).permutation(test_labels)
    assert not np.array_equal(result.figures(test_labels).macro, result.figures(shuffled).macro)
    assert json.dumps(result.description()) == before[0] and np.array_equal(result.scores, before[1])
    other = linear_probe(*given[:4], given[4][::-1].copy(), subsets=subsets(300), seeds=SEEDS, recipe=SHORT)
    assert np.array_equal(other.scores[:, :, ::-1], result.scores) and np.array_equal(other.chosen, result.chosen)


def test_repeats_are_the_same_whatever_the_threads_and_the_global_state():
    given, _ = splits(200)
    results, before = [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(threads)
        results.append(linear_probe(*given, subsets=subsets(200), seeds=SEEDS, recipe=SHORT).scores)
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert np.array_equal(*results) and not np.array_equal(results[0][:, 0], results[0][:, 1])


def test_all_seeds_are_judged_by_the_same_classes():
    """The second seed's subset has no record of a class: the first one's figure goes without it too."""
    (train, labels, valid, valid_labels, test), test_labels = splits(300)
    without = np.flatnonzero(~labels[:, 2])[:60]
    options = {"subsets": {"some": [np.arange(60), without]}, "seeds": (0, 1), "names": ["a", "b", "c", "d"]}
    result = linear_probe(train, labels, valid, valid_labels, test, recipe=SHORT, **options)
    figures = result.figures(test_labels)
    assert list(figures.not_taught["some"]) == ["c"] and figures.per_class.shape == (1, 2, 4)
    assert not np.isnan(figures.per_class[0, 0, 2]) and np.isnan(figures.per_class[0, 1, 2])
    kept = figures.per_class[0][:, [0, 1, 3]]
    assert np.allclose(figures.macro[0], kept.mean(axis=1)) and figures.as_dict()["some"]["classes_in_macro"] == 3


def test_a_class_that_a_subset_lacks_is_named_and_left_out_of_its_macro_only():
    (train, labels, valid, valid_labels, test), test_labels = splits(300)
    small = np.flatnonzero(~labels[:, 2])[:40]
    test_labels[:, 3] = False
    names = ["a", "b", "c", "d"]
    options = {"subsets": {"some": small, "all": np.arange(300)}, "seeds": (0, 1), "names": names}
    result = linear_probe(train, labels, valid, valid_labels, test, recipe=SHORT, **options)
    figures = result.figures(test_labels)
    assert figures.not_taught == {"some": {"c": [0, 0]}, "all": {}} and figures.undefined == ["d"]
    each = [[roc_auc_score(test_labels[:, k], result.scores[s, 1][:, k]) for k in range(3)] for s in range(2)]
    assert figures.macro[0, 1] == pytest.approx(np.mean(each[0][:2]), abs=1e-12)
    assert figures.macro[1, 1] == pytest.approx(np.mean(each[1]), abs=1e-12)
    told = json.loads(json.dumps(figures.as_dict(), allow_nan=False))
    assert told["some"]["classes_in_macro"] == 2 and told["all"]["classes_in_macro"] == 3
    assert told["some"]["per_class"]["c"] is None and told["some"]["not_taught"] == {"c": [0, 0]}
    assert told["all"]["mean"] == pytest.approx(figures.macro[1].mean())
    assert told["all"]["sd"] == pytest.approx(figures.macro[1].std(ddof=1))


def test_the_epoch_is_chosen_by_classes_that_the_subset_teaches():
    (train, labels, valid, valid_labels, test), _ = splits(300)
    small = {"some": np.flatnonzero(~labels[:, 2])[:40]}
    one = linear_probe(train, labels, valid, valid_labels, test, subsets=small, seeds=(0,), recipe=SHORT)
    valid_labels = valid_labels.copy()
    valid_labels[:, 2] = ~valid_labels[:, 2]
    other = linear_probe(train, labels, valid, valid_labels, test, subsets=small, seeds=(0,), recipe=SHORT)
    assert np.array_equal(one.curve, other.curve)


def test_a_class_that_validation_cannot_judge_is_named_and_still_tested():
    (train, labels, valid, valid_labels, test), test_labels = splits(200)
    valid_labels[:, 1] = False
    whole = {"all": np.arange(200)}
    result = linear_probe(train, labels, valid, valid_labels, test, subsets=whole, seeds=(0,), recipe=SHORT)
    assert result.valid_undefined == ["1"] and result.description()["valid_undefined"] == ["1"]
    assert not np.isnan(result.figures(test_labels).per_class).any() and not np.isnan(result.curve).any()


def test_one_draw_a_seed():
    given, _ = splits(300)
    draws = [np.arange(50), np.arange(50, 120)]
    both = linear_probe(*given, subsets={"some": draws}, seeds=SEEDS, recipe=SHORT)
    for place, (rows, seed) in enumerate(zip(draws, SEEDS, strict=True)):
        alone = linear_probe(*given, subsets={"some": rows}, seeds=[seed], recipe=SHORT)
        assert np.array_equal(alone.scores[0, 0], both.scores[0, place])
    assert both.n_train.tolist() == [[50, 70]] and len(set(both.rows_sha256["some"])) == 2
    assert np.isnan(alone.figures(splits(300)[1]).sd).all()


def test_standardized_by_train():
    train, other = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[5.0, 6.0]])
    learnt, applied = standardized(train, other)
    assert learnt.tolist() == [[-1, 0], [1, 0]] and applied.tolist() == [[3, 1]]
    given, test_labels = splits(400)
    scaled = [part * 1000 + 7 if part.ndim == 2 and part.dtype == np.float32 else part for part in given]
    recipe = dataclasses.replace(SHORT, standardize=True)
    options = {"subsets": {"all": np.arange(400)}, "seeds": (0,), "recipe": recipe}
    plain, moved = (linear_probe(*parts, **options).figures(test_labels).macro for parts in (given, scaled))
    assert plain == pytest.approx(moved, abs=1e-3)


def test_rank_areas_are_those_of_scikit_learn_with_ties():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 6, (3, 5, 200)).astype(np.float32), rng.random((200, 5)) < 0.2
    scores[1] += rng.random((5, 200)).astype(np.float32)
    expected = [[roc_auc_score(labels[:, k], own[k]) for k in range(5)] for own in scores]
    assert np.allclose(rank_areas(scores, labels), expected, atol=1e-12)


def test_what_is_refused():
    given, _ = splits(100)
    whole = {"all": np.arange(100)}
    with pytest.raises(BadManifest, match="no class has both"):
        rows = np.flatnonzero(~given[1].any(axis=1))[:5]
        linear_probe(*given, subsets={"none": rows}, recipe=SHORT)
    for rows in ([0, 0], [100], [-1], []):
        with pytest.raises(BadConfig, match="different row numbers"):
            linear_probe(*given, subsets={"bad": np.array(rows, dtype=np.int64)}, recipe=SHORT)
    with pytest.raises(BadConfig, match="one a seed"):
        linear_probe(*given, subsets={"three": [np.arange(9)] * 3}, seeds=(0, 1), recipe=SHORT)
    with pytest.raises(BadConfig, match="different seeds"):
        linear_probe(*given, subsets=whole, seeds=(1, 1), recipe=SHORT)
    with pytest.raises(BadConfig, match="learning rate"):
        linear_probe(*given, subsets=whole, recipe=ProbeRecipe(epochs=0))
    broken = given[0].copy()
    broken[17, 2] = np.nan
    with pytest.raises(ValueError, match="row 17 of the train"):
        linear_probe(broken, *given[1:], subsets=whole, recipe=SHORT)
    with pytest.raises(ValueError, match="valid labels"):
        linear_probe(*given[:3], given[3][:-1], given[4], subsets=whole, recipe=SHORT)
    with pytest.raises(ValueError, match="test embeddings"):
        linear_probe(*given[:4], given[4][:, :3], subsets=whole, recipe=SHORT)
