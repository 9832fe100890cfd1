"""Threads that load ahead end before the interpreter does."""

import subprocess
import sys
import threading
import time

import pytest
from fairseq.data.iterators import BackgroundConsumer, BufferedIterator

from ecgtext_plugins.tasks._threads_at_exit import end_loading

EXITS = """
import torch
from fairseq.data.iterators import BufferedIterator
from ecgtext_plugins.tasks._threads_at_exit import end_threads_at_exit

class Batches:
    def __len__(self):
        return 10**6
    def __iter__(self):
        for number in range(10**6):
            values = torch.randn(300, 300)
            torch.save(values, "/dev/null")
            yield values.sort().values

end_threads_at_exit()
batches = BufferedIterator(10, Batches())
next(batches)
raise SystemExit("stopped")
"""


class Slow(list):
    def __iter__(self):
        for item in super().__iter__():
            time.sleep(0.02)
            yield item


def loading():
    return [thread for thread in threading.enumerate() if isinstance(thread, BackgroundConsumer)]


@pytest.mark.parametrize("wait", [0.0, 0.3])
def test_threads_end_at_work_or_before_a_full_queue(wait):
    iterators = [BufferedIterator(2, Slow(range(100_000))) for _ in range(2)]
    for iterator in iterators:
        assert next(iterator) == 0
    time.sleep(wait)
    assert len(loading()) == 2
    end_loading()
    assert not loading()
    end_loading()


def test_the_wait_is_bounded():
    blocked = threading.Event()

    class Stuck(list):
        def __iter__(self):
            return iter(blocked.wait, True)

    BufferedIterator(2, Stuck([0]))._create_consumer()
    began = time.monotonic()
    end_loading(seconds=0.2)
    assert time.monotonic() - began < 5 and loading()
    blocked.set()
    end_loading()


def test_exit_code_is_that_of_the_error():
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", EXITS], capture_output=True, text=True)
        assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (1, "stopped")
