"""The same shards on a Dask cluster of two workers, from a folder and from a URL."""

import builtins

import pytest

from ecgtext_plugins.errors import BadEnvironment, BadStore
from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.dask_engine import spread_over_dask
from ecgtext_plugins.store.recipe import resolve_recipe
from tests import builders

distributed = pytest.importorskip("distributed")


def recipe_of(**changes):
    return resolve_recipe(builders.demo_recipe(**changes), "test")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    raw = tmp_path_factory.mktemp("mimic")
    rows = builders.write_mimic_tree(raw, 23, seed=2)
    (raw / rows[3]["path"]).with_suffix(".dat").unlink()
    return raw


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.mark.parametrize("place", ["{}", "file://{}"])
def test_two_workers_give_what_one_process_gives(tmp_path, raw, cluster, place):
    build_store(recipe_of(), raw, tmp_path / "local")
    progress = []
    build_store(
        recipe_of(),
        place.format(raw),
        tmp_path / "dask",
        progress=lambda *now: progress.append(now),
        engine="dask",
        scheduler=cluster.scheduler_address,
    )
    assert builders.tree_digest(tmp_path / "dask") == builders.tree_digest(tmp_path / "local")
    assert progress[0] == (23, 0, 0) and progress[-1] == (23, 22, 1) and len(progress) == 6


@pytest.mark.slow
def test_without_an_address_a_cluster_is_started_and_ended(tmp_path, raw):
    build_store(recipe_of(), raw, tmp_path / "local")
    build_store(recipe_of(), raw, tmp_path / "dask", workers=2, engine="dask")
    assert builders.tree_digest(tmp_path / "dask") == builders.tree_digest(tmp_path / "local")


def fail(task):
    raise BadStore(f"shard {task} cannot be written: expected room; make some")


def test_what_a_worker_raises_is_told(tmp_path, cluster):
    with pytest.raises(BadStore, match="shard [12] cannot be written"):
        list(spread_over_dask(fail, [1, 2], tmp_path, 2, cluster.scheduler_address))


def test_a_scheduler_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("ecgtext_plugins.store.dask_engine.WAIT", 1)
    with pytest.raises(BadStore, match="scheduler tcp://127.0.0.1:9 does not answer.*correct --scheduler"):
        list(spread_over_dask(fail, [1], tmp_path, 2, "tcp://127.0.0.1:9"))


def test_workers_that_do_not_share_the_folder_are_told(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr("ecgtext_plugins.store.dask_engine.Path.is_file", lambda path: False)
    with pytest.raises(BadStore, match=r"does not see .*same place"):
        list(spread_over_dask(fail, [1], tmp_path, 2, cluster.scheduler_address))
    assert list((tmp_path / ".build").iterdir()) == []


def test_without_dask_the_remedy_is_told(tmp_path, monkeypatch):
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name == "distributed":
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BadEnvironment, match=r"pip install 'ecgtext-plugins\[dask\]'"):
        list(spread_over_dask(fail, [1], tmp_path, 2, None))


@pytest.mark.parametrize(("engine", "scheduler"), [("spark", None), ("local", "tcp://x:1")])
def test_what_is_no_engine(tmp_path, raw, engine, scheduler):
    with pytest.raises(ValueError, match="expected local without one, or dask"):
        build_store(recipe_of(), raw, tmp_path / "data", engine=engine, scheduler=scheduler)
