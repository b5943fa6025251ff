"""Leases: one trains, others wait; the dead block nobody and the living are not robbed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from mia_utils.engine import lease as module
from mia_utils.engine.lease import lease
from mia_utils.errors import DiskError


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Where a lease lies, with a pulse that suits tests."""
    monkeypatch.setattr(module, "_BEAT", 0.05)
    monkeypatch.setattr(module, "_STALE", 0.5)
    monkeypatch.setattr(module, "_LOOK", 0.02)
    (tmp_path / "leases").mkdir()
    return tmp_path / "leases" / "model"


def claim(path, *, wait=True, done=lambda: False):
    return lease(path, done, "--store", wait=wait)


def _dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_lease_is_there_while_its_block_runs(path):
    with claim(path) as ours:
        assert ours and path.exists()
    assert not path.exists()


def test_it_is_given_back_when_the_block_raises(path):
    with pytest.raises(RuntimeError), claim(path):
        raise RuntimeError
    assert not path.exists()


def test_the_second_waits_for_the_first_and_then_need_not(path):
    finished, order = threading.Event(), []

    def second():
        with claim(path, done=finished.is_set) as ours:
            order.append(ours)

    with claim(path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(1.0)  # twice the time after which a silent lease is taken over
        assert order == [], "the first is alive: its heartbeat says so"
        finished.set()
    thread.join(5)
    assert order == [False]


def test_without_waiting_a_lease_of_the_living_is_left_alone(path):
    with claim(path), claim(path, wait=False) as ours:
        assert not ours


def test_work_that_was_done_between_two_looks_is_not_done_again(path):
    """The other finished, and gave its lease back, after the first look."""
    looks = iter([False, True])
    with claim(path, done=lambda: next(looks)) as ours:
        assert not ours
    assert not path.exists()


@pytest.mark.parametrize("ahead", [-3600, 0, 3600], ids=["an hour ago", "now", "in an hour"])
def test_a_silent_lease_is_taken_over_whatever_its_clock_says(path, ahead):
    path.write_text("elsewhere|1|token")
    os.utime(path, (time.time() + ahead,) * 2)
    began = time.monotonic()
    with claim(path) as ours:
        assert ours and "elsewhere" not in path.read_text()
    assert 0.5 <= time.monotonic() - began < 3


@pytest.mark.parametrize("ahead", [-3600, 3600], ids=["behind", "ahead"])
def test_the_living_are_not_robbed_for_their_clock(path, ahead):
    path.write_text("elsewhere|1|token")
    stop, clock = threading.Event(), [time.time() + ahead]

    def beat():
        while not stop.wait(0.05):
            clock[0] += 0.05
            os.utime(path, (clock[0],) * 2)

    thread = threading.Thread(target=beat)
    thread.start()
    finished = time.monotonic() + 1.5
    with claim(path, done=lambda: time.monotonic() > finished) as ours:
        assert not ours
    stop.set()
    thread.join()
    assert path.read_text() == "elsewhere|1|token"


def test_a_dead_owner_of_this_machine_is_not_waited_for(path, monkeypatch):
    monkeypatch.setattr(module, "_STALE", 1e9)
    path.write_text(f"{module._machine()}|{_dead_pid()}|token")
    with claim(path, wait=False) as ours:
        assert ours


def test_the_same_host_name_among_other_process_numbers_is_not_taken_for_dead(path, monkeypatch):
    """A container has its host's name, and numbers its processes anew."""
    here = module._machine()
    path.write_text(f"{here} elsewhere|{_dead_pid()}|token")
    with claim(path, wait=False) as ours:
        assert not ours
    assert path.exists()


def test_a_lease_that_was_taken_over_is_left_to_its_new_owner(path):
    with claim(path):
        path.write_text("elsewhere|1|token")  # robbed while suspended
        before = path.stat().st_mtime_ns
        time.sleep(0.3)
        assert path.stat().st_mtime_ns == before, "no heartbeat for another's lease"
    assert path.read_text() == "elsewhere|1|token"


def test_a_lease_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "leases").write_text("a file")
    with (
        pytest.raises(DiskError, match="leases.*choose another folder"),
        claim(tmp_path / "leases" / "model"),
    ):
        pass


def test_a_full_disk_leaves_no_empty_lease(path, monkeypatch):
    class Full:
        def __enter__(self):
            path.touch()
            return self

        def __exit__(self, *_):
            pass

        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "open", lambda *_, **__: Full(), raising=False)
    with pytest.raises(DiskError, match="no space left"), claim(path):
        pass
    assert not path.exists()
