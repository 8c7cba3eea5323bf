"""Running the accepted jobs of an account, several at a time."""

from __future__ import annotations

from collections.abc import Callable
from threading import BoundedSemaphore, Event, Thread
from types import TracebackType

from lingotune.launch.simulator.loopback.jobs import Job, Jobs

_PAUSE = 0.2
"""Seconds between looks whether to leave."""
Run = Callable[[Job, Callable[[], bool]], None]
"""Runs a job to its end, which has to come soon once the function that it gets says True."""


class Driver:
    """Context manager that runs the accepted jobs in threads, in their order.

    parallel: how many at a time; the others wait for a machine. At its end it ends those that run.
    """

    def __init__(self, jobs: Jobs, run: Run, parallel: int = 1) -> None:
        self._jobs, self._run = jobs, run
        self._free = BoundedSemaphore(parallel)
        self._closing = Event()
        self._thread = Thread(target=self._work, daemon=True)

    def __enter__(self) -> Driver:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def _work(self) -> None:
        running: list[Thread] = []
        while not self._closing.is_set():
            if not self._free.acquire(timeout=_PAUSE):
                self._jobs.end_stopped()
                continue
            job = self._jobs.next_waiting(_PAUSE)
            if job is None:
                self._free.release()
                continue
            running = [thread for thread in running if thread.is_alive()]
            running.append(Thread(target=self._to_its_end, args=(job,), daemon=True))
            running[-1].start()
        for thread in running:
            thread.join()

    def _to_its_end(self, job: Job) -> None:
        try:
            self._run(job, self._closing.is_set)
        except Exception as error:  # the job has to end in any case
            job.fail(f"InternalServerError: {type(error).__name__}: {error}")
        finally:
            self._free.release()
