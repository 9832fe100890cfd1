"""What a run continues from after a kill: the newest whole checkpoint, and never an unsafe one."""

import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ecgtext_plugins.checkpoints.resume import LAST, restored_state, updates_of
from ecgtext_plugins.checkpoints.safe_load import DamagedCheckpoint, load_checkpoint_file
from ecgtext_plugins.errors import BadCheckpoint

DAMAGED = "checkpoint_last.pt.damaged"


def save(path, updates, **extra):
    state = {"model": {"w": torch.full((3000,), float(updates))}, "optimizer_history": [{"num_updates": updates}]}
    torch.save(state | extra, path)
    return path


def truncate(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    return path.read_bytes()


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of 10 and 20 updates, the newer one with the older date, and a last one of 30."""
    save(tmp_path / "checkpoint_2_20.pt", 20)
    save(tmp_path / "checkpoint_best.pt", 10)
    for name, date in (("checkpoint_2_20.pt", 1_000_000), ("checkpoint_best.pt", 2_000_000)):
        os.utime(tmp_path / name, (date, date))
    save(tmp_path / LAST, 30)
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("keep", [0, 1, 100, 0.3, 0.9, -1])
def test_a_truncated_last_one_is_replaced_by_the_newest_whole_one(folder, caplog, keep):
    kept = truncate(folder / LAST, keep)
    with caplog.at_level(logging.WARNING):
        state = restored_state(str(folder), LAST)
    assert updates_of(state) == 20 and state["model"]["w"][0] == 20
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "\n" not in record.getMessage()
    for word in (str(folder / LAST), DAMAGED, "checkpoint_2_20.pt", "20 updates"):
        assert word in record.getMessage()
    whole = (folder / "checkpoint_2_20.pt").read_bytes()
    assert (folder / LAST).read_bytes() == whole and (folder / DAMAGED).read_bytes() == kept
    assert names(folder) == ["checkpoint_2_20.pt", "checkpoint_best.pt", LAST, DAMAGED]
    # A later save writes over the last one in place: the whole one is another file.
    assert not os.path.samefile(folder / LAST, folder / "checkpoint_2_20.pt")
    caplog.clear()
    assert updates_of(restored_state(str(folder), LAST)) == 20 and not caplog.records


def test_bytes_that_changed_inside(folder):
    content = bytearray((folder / LAST).read_bytes())
    place = content.index(b"optimizer_history")
    content[place - 4 : place + 30] = b"\0" * 34
    (folder / LAST).write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match="is damaged"):
        load_checkpoint_file(folder / LAST)
    assert updates_of(restored_state(str(folder), LAST)) == 20


def test_other_damaged_ones_and_weights_alone_are_passed_over(folder):
    truncate(folder / LAST, 0.5)
    truncate(folder / "checkpoint_2_20.pt", 0.5)
    torch.save({"model": {}}, folder / "checkpoint_average.pt")
    (folder / "checkpoint_3_40.pt.tmp").write_bytes(b"PK")
    assert updates_of(restored_state(str(folder), LAST)) == 10


def test_a_second_damage_replaces_the_first_one_kept(folder):
    for keep in (50, 60):
        truncate(folder / LAST, keep)
        restored_state(str(folder), LAST)
    assert len((folder / DAMAGED).read_bytes()) == 60


def test_without_links(folder, monkeypatch):
    def refused(*args):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refused)
    kept = truncate(folder / LAST, 0.5)
    assert updates_of(restored_state(str(folder), LAST)) == 20
    assert (folder / DAMAGED).read_bytes() == kept


def test_all_damaged_is_an_error_and_nothing_changes(folder):
    before = {name: truncate(folder / name, 0.5) for name in names(folder)}
    with pytest.raises(BadCheckpoint, match=r"checkpoint_last.pt is truncated .*; remove it"):
        restored_state(str(folder), LAST)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_unsafe_one_is_refused_not_run_and_not_replaced(folder):
    target = folder / "executed"
    save(folder / LAST, 30, extra=Malicious(target))
    before = (folder / LAST).read_bytes()
    with pytest.raises(BadCheckpoint, match="holds the type .*system"):
        restored_state(str(folder), LAST)
    assert (folder / LAST).read_bytes() == before and not target.exists()
    assert names(folder) == ["checkpoint_2_20.pt", "checkpoint_best.pt", LAST]


def test_an_unsafe_one_does_not_take_the_place(folder):
    save(folder / "checkpoint_2_25.pt", 25, extra=Malicious(folder / "executed"))
    truncate(folder / LAST, 0.5)
    assert updates_of(restored_state(str(folder), LAST)) == 20 and not (folder / "executed").exists()


def test_another_restore_file_is_never_replaced(folder):
    other = save(folder / "mine.pt", 5)
    kept = truncate(other, 0.5)
    before = names(folder)
    with pytest.raises(BadCheckpoint, match=rf"mine.pt is truncated .*checkpoint.restore_file={folder / LAST}"):
        restored_state(str(folder), str(other))
    assert names(folder) == before and other.read_bytes() == kept
    # its own folder's last one given by its path is not the default either
    truncate(folder / LAST, 0.5)
    with pytest.raises(BadCheckpoint, match="checkpoint.restore_file=.*checkpoint_2_20.pt"):
        restored_state(str(folder), str(folder / LAST))
    assert names(folder) == before


def test_no_checkpoint_is_no_state(tmp_path):
    assert restored_state(str(tmp_path / "none"), LAST) == {}
    truncate(save(tmp_path / "checkpoint_best.pt", 1), 0.5)
    assert restored_state(str(tmp_path), LAST) == {}


def test_only_rank_zero_replaces_and_all_read_after_the_barrier(folder):
    kept = truncate(folder / LAST, 0.5)
    with pytest.raises(BadCheckpoint, match="is truncated"):
        restored_state(str(folder), LAST, rank=1, barrier=lambda: None)
    assert (folder / LAST).read_bytes() == kept and DAMAGED not in names(folder)

    def rank_zero_meanwhile():
        restored_state(str(folder), LAST, rank=0)

    assert updates_of(restored_state(str(folder), LAST, rank=1, barrier=rank_zero_meanwhile)) == 20


def test_rank_zero_reaches_the_barrier_before_it_fails(folder):
    for name in names(folder):
        truncate(folder / name, 0.5)
    reached = []
    with pytest.raises(BadCheckpoint):
        restored_state(str(folder), LAST, rank=0, barrier=lambda: reached.append(True))
    assert reached


def test_no_room_for_the_copy(folder, monkeypatch, caplog):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ecgtext_plugins.checkpoints.resume.shutil.copyfile", full)
    kept = truncate(folder / LAST, 0.5)
    with caplog.at_level(logging.WARNING), pytest.raises(BadCheckpoint, match="checkpoint_2_20.pt"):
        restored_state(str(folder), LAST)
    assert "No space left" in caplog.text
    assert (folder / LAST).read_bytes() == kept and len(names(folder)) == 3


def test_a_file_without_permission_is_not_called_damaged(folder, monkeypatch):
    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", refused)
    with pytest.raises(BadCheckpoint, match="cannot be read: Permission denied"):
        restored_state(str(folder), LAST)
    assert len(names(folder)) == 3


@pytest.mark.slow
def test_a_saving_process_killed_at_any_moment_leaves_something_to_continue_from(tmp_path):
    moments, damaged, done = random.Random(0), 0, 0
    script = Path(__file__).with_name("saving_process.py")
    for _ in range(12):
        process = subprocess.Popen([sys.executable, str(script), str(tmp_path), str(done)], stdout=subprocess.PIPE)
        process.stdout.readline()  # from the first save on
        time.sleep(moments.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        said = [done + 1, *map(int, process.communicate()[0].split())]
        try:
            load_checkpoint_file(tmp_path / LAST)
        except DamagedCheckpoint:
            damaged += 1
        state = restored_state(str(tmp_path), LAST)
        assert updates_of(state) >= said[-1]
        assert torch.equal(state["model"]["w"], torch.full((50_000,), float(updates_of(state))))
        assert updates_of(load_checkpoint_file(tmp_path / LAST)) == updates_of(state)
        done = updates_of(state)
    assert damaged, "no kill fell into a copy: the test has shown nothing"
