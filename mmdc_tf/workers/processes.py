"""Jobs in processes of this machine."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.workers import Job, Prepare, Result, Shared

_shared: Any = None


@dataclass(frozen=True)
class Processes:
    """Processes of this machine.

    Args:
        count: how many, at least 1.
        option: the option that says so, for messages.
        prepare: called in each before its first job.
    """

    count: int
    option: str
    prepare: Prepare

    def results(
        self, function: Callable[[Shared, Job], Result], shared: Shared, jobs: Sequence[Job]
    ) -> Iterator[tuple[Job, Result]]:
        """As ``mmdc_tf.workers.Workers``; the processes end with this one, however it ends.

        A script that calls this needs ``if __name__ == "__main__":``, since the processes import it.
        """
        # spawn: a fork would copy the locks of TensorFlow's and OpenCV's threads in whatever state they are
        context = multiprocessing.get_context("spawn")
        count = max(1, min(self.count, len(jobs)))
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(shared, self.prepare))
        try:
            futures: dict[Future[Result], Job] = {pool.submit(_with_shared(function), job): job for job in jobs}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenExecutor as error:
            raise ConfigurationError(
                "Expected worker processes that run to the end. Received: one that was killed, most often for lack of "
                f"memory, with {self.option}={self.count}. The same command continues; use fewer --{self.option}."
            ) from error
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()  # a job may take an hour
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def available_cores() -> int:
    """The cores that this process may use."""
    with contextlib.suppress(AttributeError):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin(shared: Any, prepare: Prepare) -> None:
    global _shared
    _shared = shared
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare()


def _end_with_parent() -> None:
    """A killed parent frees its lock on the folder: nobody else may go on writing there."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _with_shared(function: Callable[[Any, Job], Result]) -> Callable[[Job], Result]:
    return functools.partial(_call, function)


def _call(function: Callable[[Any, Job], Result], job: Job) -> Result:
    return function(_shared, job)
