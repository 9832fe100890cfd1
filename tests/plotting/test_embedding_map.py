import subprocess
import sys

import numpy as np
import pytest

from ecgtext_plugins.errors import BadConfig, BadEnvironment
from ecgtext_plugins.plotting.embedding_map import OTHER, check_methods, draw_map, project, project_tsne, project_umap


def clusters():
    rng = np.random.default_rng(0)
    centers = 4 * np.eye(16)[:3]
    groups = np.repeat(np.arange(3), [40, 25, 15])
    return centers[groups] + 0.3 * rng.normal(size=(80, 16)), groups


@pytest.mark.parametrize("method", ["tsne", pytest.param("umap", marks=pytest.mark.slow)])
def test_groups_stay_together_and_the_seed_decides(method):
    if method == "umap":
        pytest.importorskip("umap", reason="umap-learn is not installed")
    embeddings, groups = clusters()
    points = project(embeddings, method, seed=1)
    assert points.shape == (80, 2) and np.isfinite(points).all()
    assert (project(embeddings, method, seed=1) == points).all()
    other = project(embeddings, method, seed=2)
    assert np.allclose(other, points) == (method == "tsne")  # which begins with the principal components, not by chance
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (groups[distances.argmin(axis=1)] == groups).mean() > 0.95


def test_map_shows_every_point_once_with_its_group():
    points = np.random.default_rng(0).normal(size=(60, 2))
    groups = ["sinus_rhythm"] * 30 + ["atrial_fibrillation"] * 20 + ["sinus_bradycardia"] * 10
    axes = draw_map(points, groups, "test split").axes[0]
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == [
        "sinus rhythm (30)",
        "atrial fibrillation (20)",
        "sinus bradycardia (10)",
    ]
    shown = [collection.get_offsets() for collection in axes.collections]
    assert [len(part) for part in shown] == [30, 20, 10]
    assert np.allclose(np.concatenate(shown), points)
    assert len({tuple(collection.get_facecolor()[0]) for collection in axes.collections}) == 3


@pytest.mark.parametrize("projected", [project_tsne, project_umap])
@pytest.mark.parametrize("embeddings", [np.zeros((3, 4)), np.zeros(9), np.full((9, 4), np.nan)])
def test_bad_embeddings_are_refused(embeddings, projected):
    with pytest.raises(ValueError, match="expected"):
        projected(embeddings)


@pytest.mark.slow
@pytest.mark.parametrize("embeddings", [np.eye(4, 6), np.ones((30, 8)), np.arange(1, 21)[:, None]])
def test_umap_of_few_equal_or_one_dimensional_embeddings(embeddings):
    pytest.importorskip("umap", reason="umap-learn is not installed")
    points = project_umap(embeddings)
    assert points.shape == (len(embeddings), 2) and np.isfinite(points).all()


OTHER_PROCESS = """
import sys
import numpy as np
from ecgtext_plugins.plotting.embedding_map import project_umap
np.save(sys.argv[2], project_umap(np.load(sys.argv[1]), seed=1))
"""


@pytest.mark.slow
def test_umap_of_another_process_is_the_same(tmp_path):
    pytest.importorskip("umap", reason="umap-learn is not installed")
    embeddings, _ = clusters()
    np.save(tmp_path / "in.npy", embeddings)
    words = ["-W", "error", "-c", OTHER_PROCESS, tmp_path / "in.npy", tmp_path / "out.npy"]
    told = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), project_umap(embeddings, seed=1))


def test_umap_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr("ecgtext_plugins.plotting.embedding_map.find_spec", lambda name: None)
    remedy = r"a UMAP map needs umap-learn, .*pip install 'ecgtext-plugins\[evaluation\]', or draw t-SNE alone"
    with pytest.raises(BadEnvironment, match=remedy):
        check_methods(["tsne", "umap"])
    with pytest.raises(BadEnvironment, match=remedy):
        project_umap(clusters()[0])
    check_methods(["tsne"])


@pytest.mark.parametrize("methods", [["pca"], ["tsne", "tsne"]])
def test_unknown_maps_are_refused(methods):
    with pytest.raises(BadConfig, match="expected different ones of tsne, umap"):
        check_methods(methods)


def test_other_is_grey_and_below():
    axes = draw_map(np.zeros((5, 2)), ["a", "b", "b", OTHER, "b"]).axes[0]
    first = axes.collections[0]
    assert first.get_label() == "other (1)" and len(set(first.get_facecolor()[0][:3])) == 1


def test_bad_groups_are_refused():
    with pytest.raises(ValueError, match="expected"):
        draw_map(np.zeros((4, 2)), ["a"])
