"""Retrieval against a brute force over all pairs."""

import numpy as np
import pytest

from ecgtext_plugins.evaluation import retrieval
from ecgtext_plugins.evaluation.retrieval import chance_ranks, retrieve


def brute_force(queries, items, wanted, reports, similarity):
    """Sort all items for each query, those of other reports first among equals, and look for the first hit."""
    ranks = []
    for row, query in enumerate(queries):
        scores = np.array([float(np.dot(query, item)) for item in items])
        if similarity == "cosine":
            scores /= [np.linalg.norm(query) * np.linalg.norm(item) for item in items]
        hits = np.array([report == wanted[row] for report in reports])
        order = np.lexsort((hits, -np.round(scores, 5)))
        ranks.append(1 + int((~hits[order])[: np.argmax(hits[order])].sum()))
    return np.array(ranks)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("seed", range(6))
def test_equals_brute_force(seed, similarity, monkeypatch):
    random = np.random.default_rng(seed)
    reports = random.integers(0, 25, 60)
    vectors = random.normal(size=(25, 8))
    text = vectors[reports].astype(np.float32)
    ecg = (text + 1.5 * random.normal(size=text.shape)).astype(np.float32)
    whole = retrieve(ecg, text, reports, similarity)
    monkeypatch.setattr(retrieval, "BLOCK_VALUES", 60 * 7)
    found = retrieve(ecg, text, reports, similarity)
    different = np.unique(reports)
    for queries, items, of_items, result, other in (
        (ecg, vectors[different], different, found.ecg_to_text, whole.ecg_to_text),
        (text, ecg, reports, found.text_to_ecg, whole.text_to_ecg),
    ):
        expected = brute_force(queries, items, reports, of_items, similarity)
        assert np.array_equal(result.ranks, expected) and np.array_equal(other.ranks, expected)
        assert result.median_rank == np.median(expected)
        assert result.recall == {k: (expected <= k).mean() for k in (1, 5, 10)}
    assert found.n == 60 and found.n_reports == len(set(reports.tolist()))


def test_hand_computed():
    """Three records; the second ECG is nearer to both other texts, the second text to the third ECG alone."""
    ecg = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    text = np.array([[1.0, 0.1], [-1.0, 0.0], [0.0, 1.0]])
    found = retrieve(ecg, text[[0, 1, 0]], np.array(["af", "sr", "af"]))
    assert found.ecg_to_text.ranks.tolist() == [1, 2, 1] and found.text_to_ecg.ranks.tolist() == [1, 2, 1]
    apart = retrieve(ecg, text, np.array(["af", "sr", "vt"]))
    assert apart.ecg_to_text.ranks.tolist() == [1, 3, 1] and found.n_reports == 2 and apart.n_reports == 3
    assert found.ecg_to_text.recall == {1: pytest.approx(2 / 3), 5: 1.0, 10: 1.0}


def test_copy_of_the_report_elsewhere_is_a_hit():
    text = np.eye(3)
    ecg = text[[1, 0, 2]]  # each of the first two points at the other's text
    assert retrieve(ecg, text, np.arange(3)).ecg_to_text.recall[1] == pytest.approx(1 / 3)
    assert retrieve(ecg, text[[0, 0, 2]], np.array([7, 7, 8])).text_to_ecg.recall[1] == 1.0


def test_copies_of_a_wrong_report_count_once():
    """The last ECG is nearest to the report that 30 others have; its own is the second of two reports."""
    reports = np.array(["normal"] * 30 + ["af"])
    text = np.eye(2)[(reports == "af").astype(int)]
    ecg = np.vstack([np.tile([1.0, 0.0], (30, 1)), [[1.0, 0.5]]])
    found = retrieve(ecg, text, reports)
    assert found.ecg_to_text.ranks.tolist() == [1] * 30 + [2] and (found.n, found.n_reports) == (31, 2)


def test_one_report_has_one_embedding():
    with pytest.raises(ValueError, match="row 2 is not that of row 0, which has the same report: expected one"):
        retrieve(np.ones((3, 2)), np.array([[1.0, 0], [0, 1], [0.9, 0]]), np.array(["a", "b", "a"]))
    nearly = np.array([[1.0, 0], [0, 1], [1 + 1e-6, 0]])
    assert retrieve(np.ones((3, 2)), nearly, np.array(["a", "b", "a"])).n_reports == 2


def test_an_encoder_that_says_the_same_of_every_ecg_equals_the_commonest_report_control():
    """It has a recall, the share of the commonest reports, without having seen a word: the control says so."""
    random = np.random.default_rng(2)
    reports = random.choice(20, 300, p=np.arange(20, 0, -1) / 210)
    counts = np.bincount(reports, minlength=20)
    order = np.argsort(-counts, kind="stable")
    text = np.zeros((20, 2))
    text[order, 0] = np.arange(20, 0, -1)  # the dot product with (1, 0) ranks reports by frequency
    found = retrieve(np.tile([1.0, 0.0], (300, 1)), text[reports], reports, "dot").ecg_to_text
    control = found.controls["commonest_report"]
    assert control == {f"r@{k}": value for k, value in found.recall.items()} | {"median_rank": found.median_rank}
    assert control["r@1"] == counts.max() / 300 and control["r@5"] == pytest.approx(counts[order[:5]].sum() / 300)
    assert retrieve(np.ones((300, 2)), np.ones((300, 2)), reports).text_to_ecg.controls["commonest_report"] == control


def test_chance_by_hand():
    of_texts = chance_ranks(np.ones(9, dtype=int), 20)  # one hit among 20: every rank is as likely
    assert of_texts == pytest.approx({"r@1": 0.05, "r@5": 0.25, "r@10": 0.5, "median_rank": 10.5})
    of_one = chance_ranks(np.array([1, 1]), 7)
    assert of_one["median_rank"] == 4 and of_one["r@10"] == 1.0
    assert chance_ranks(np.array([2]), 4)["r@1"] == pytest.approx(0.5)
    assert chance_ranks(np.array([3]), 3) == {"r@1": 1.0, "r@5": 1.0, "r@10": 1.0, "median_rank": 1.0}


def test_chance_equals_random_orders():
    random = np.random.default_rng(3)
    reports = np.repeat(np.arange(12), [1, 1, 1, 2, 2, 3, 4, 6, 8, 10, 12, 30])
    text, ranks = random.normal(size=(12, 3))[reports], {"ecg_to_text": [], "text_to_ecg": []}
    for _ in range(400):
        ecg = random.normal(size=(len(reports), 3))
        text = random.normal(size=(12, 3))[reports]
        found = retrieve(ecg, text, reports)
        for direction, every in ranks.items():
            every.append(getattr(found, direction).ranks)
    for direction, every in ranks.items():
        chance, every = getattr(found, direction).controls["chance"], np.concatenate(every)
        for k in (1, 5, 10):
            assert chance[f"r@{k}"] == pytest.approx((every <= k).mean(), abs=0.03), (direction, k)
        assert chance["median_rank"] == pytest.approx(np.median(every), abs=1), direction


def test_perfect_random_and_collapsed_embeddings():
    random = np.random.default_rng(0)
    text, ecg = random.normal(size=(2, 400, 16))
    perfect = retrieve(text, 3 * text, np.arange(400))
    assert perfect.ecg_to_text.recall[1] == perfect.text_to_ecg.recall[1] == 1.0
    chance = retrieve(ecg, text, np.arange(400)).ecg_to_text
    assert chance.recall[10] < 0.06 and 170 < chance.median_rank < 230
    collapsed = retrieve(np.ones((400, 16)), np.ones((400, 16)), np.arange(400))
    assert collapsed.ecg_to_text.recall[10] == 0.0 and collapsed.text_to_ecg.median_rank == 400


def test_long_lists_keep_no_table_of_all_pairs():
    import tracemalloc

    random = np.random.default_rng(1)
    ecg = random.normal(size=(8000, 4)).astype(np.float32)
    tracemalloc.start()
    retrieve(ecg, ecg, np.arange(8000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.8 * 8000 * 8000 * 4


@pytest.mark.parametrize(
    ("ecg", "text", "reports", "message"),
    [
        (np.ones((3, 2)), np.ones((3, 4)), np.arange(3), "expected"),
        (np.ones((3, 2)), np.ones((3, 2)), np.arange(2), "expected"),
        (np.ones((0, 2)), np.ones((0, 2)), np.arange(0), "n > 0"),
        (np.ones((3, 2)), np.diag([1, np.nan, 1])[:, :2], np.arange(3), "text embedding of row 1 is not finite"),
        (np.diag([np.inf, 1, 1])[:, :2], np.ones((3, 2)), np.arange(3), "ECG embedding of row 0 is not finite"),
    ],
)
def test_bad_input_is_refused_by_name(ecg, text, reports, message):
    with pytest.raises(ValueError, match=message):
        retrieve(ecg, text, reports)


def test_unknown_similarity_is_refused():
    with pytest.raises(ValueError, match="similarity='l2': expected one of cosine, dot"):
        retrieve(np.ones((2, 2)), np.ones((2, 2)), np.arange(2), "l2")
