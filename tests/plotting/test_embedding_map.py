import numpy as np
import pytest

from ecgtext_plugins.plotting.embedding_map import draw_map, project_tsne


def clusters():
    rng = np.random.default_rng(0)
    centers = 4 * np.eye(16)[:3]
    groups = np.repeat(np.arange(3), [40, 25, 15])
    return centers[groups] + 0.3 * rng.normal(size=(80, 16)), groups


def test_groups_stay_together_and_the_seed_decides():
    embeddings, groups = clusters()
    points = project_tsne(embeddings, seed=1)
    assert points.shape == (80, 2)
    assert (project_tsne(embeddings, seed=1) == points).all()
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (groups[distances.argmin(axis=1)] == groups).mean() > 0.95


def test_map_shows_every_point_once_with_its_group():
    points = np.random.default_rng(0).normal(size=(60, 2))
    groups = ["sinus_rhythm"] * 30 + ["atrial_fibrillation"] * 20 + ["sinus_bradycardia"] * 10
    axes = draw_map(points, groups, "test split").axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "sinus rhythm (30)",
        "atrial fibrillation (20)",
        "sinus bradycardia (10)",
    ]
    shown = [collection.get_offsets() for collection in axes.collections]
    assert [len(part) for part in shown] == [30, 20, 10]
    assert np.allclose(np.concatenate(shown), points)
    assert len({tuple(collection.get_facecolor()[0]) for collection in axes.collections}) == 3


@pytest.mark.parametrize("embeddings", [np.zeros((3, 4)), np.zeros(9), np.full((9, 4), np.nan)])
def test_bad_embeddings_are_refused(embeddings):
    with pytest.raises(ValueError, match="expected"):
        project_tsne(embeddings)


def test_bad_groups_are_refused():
    with pytest.raises(ValueError, match="expected"):
        draw_map(np.zeros((4, 2)), ["a"])
