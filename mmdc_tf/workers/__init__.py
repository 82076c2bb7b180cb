"""Where independent work is done: processes of this machine (``processes``) or a Ray cluster (``on_ray``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

Shared = TypeVar("Shared")
Job = TypeVar("Job")
Result = TypeVar("Result")


class Workers(Protocol):
    """Does jobs that need nothing from one another."""

    def results(
        self, function: Callable[[Shared, Job], Result], shared: Shared, jobs: Sequence[Job]
    ) -> Iterator[tuple[Job, Result]]:
        """Each job with what the function gives for it, in the order in which they are done.

        Args:
            function: of a module, since processes look it up by name; called with ``shared`` and a job.
            shared: the same for all jobs, sent once.
            jobs: each is sent to the process that does it.

        Raises:
            ConfigurationError: a process was killed, or no process can be had.
            Exception: whatever the function raises; the other jobs are given up.
        """


Prepare = Callable[[], Any]
"""Called once in each process before its first job."""
