"""A watch over the processes of a job: one that has died, hangs or is slow is named, and all of them end.

A thread of each process tells the others every two seconds, through a store that rank 0 holds, which
stage its main thread is in, how far it has come and where it is in the code. The first process of each
node judges: it writes into the store which process is silent, dead or does not move. All then print the
stacks of their threads and exit with the code for a lost peer. A second thread sees to it where the store
does not answer.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from lingotune.config.console import say_aside
from lingotune.config.faults import LIKELY
from lingotune.config.problems import PEER_LOST
from lingotune.training import distributed, failure
from lingotune.training.distributed import TIMEOUT, Rank
from lingotune.training.progress import Progress, progress

_EVERY = 2.0
"""Seconds between two signs of life."""
_FAREWELL = 8.0
"""Seconds in which the others read a verdict, before the process with the store ends."""
_LAST_WORDS = 5.0
"""Seconds in which a process that fails tells the others why, and in which they may fail for the same."""
_VERDICT = "verdict"
_BECAUSE = "ended because of another: "
_SLOW, _SLOW_MOVES = 3.0, 20
"""Times the median that a process computes before it is called slow, over so many micro-batches."""
_WAITS = {
    "_engine_run_backward", "all_reduce", "barrier", "broadcast", "all_gather", "all_gather_object", "wait",
    "broadcast_object_list", "synchronize", "clip_grad_norm_", "_check",
}  # fmt: skip
"""Functions in which a process may wait for others."""


@dataclass(frozen=True)
class Sign:
    """Sign of life of a process.

    beat: its number. moves, busy: see `Progress`. stage, where: what the main thread does, and its
    innermost function. still: seconds without a step. hangs: longer than a step may take. left: the process
    needs no watch any more, as it has ended well; failed: why it ends.
    """

    rank: int
    beat: int
    moves: int
    busy: float
    stage: str
    where: str
    still: float
    hangs: bool
    host: str
    pid: int
    left: bool = False
    failed: str = ""


class Watch:
    """The watch of one process; `watching` makes it."""

    def __init__(
        self, rank: Rank, store: Any, progress: Progress, limits: tuple[float, float]
    ) -> None:
        """limits: peer_timeout and hang_timeout in seconds; signs older than half of one are in doubt."""
        self._rank, self._store, self._progress = rank, store, progress
        self._peer_timeout, self._hang_timeout = limits
        self._doubtful = min(limits) / 2
        self._main = threading.main_thread().ident
        self._beat, self._answered, self._looked = 0, time.monotonic(), time.monotonic()
        self._heard: dict[int, tuple[Sign, float]] = {}
        self._slow_from: dict[int, Sign] = {}
        self._slow_told: set[int] = set()
        self._over, self._wake, self._said = (threading.Event() for _ in range(3))
        self._ending, self._clock = threading.Lock(), threading.Lock()
        self._failing: dict[int, float] = {}
        self._stopped, self._woken = 0.0, 0.0
        self._failed, self._left = "", False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads, once every process has given a sign."""
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            # Answers even while a library holds the interpreter.
            faulthandler.register(signal.SIGUSR1, all_threads=True)
        self._tell()
        distributed.barrier(self._rank)
        for target in (self._talk, self._see_to_it):
            thread = threading.Thread(target=target, daemon=True, name=f"watch {target.__name__}")
            thread.start()
            self._threads.append(thread)

    def leave(self) -> None:
        """Tell that this process has ended well."""
        self._left = True
        self._say()

    def fail(self, why: str, code: int) -> None:
        """Tell the others why this process ends; that with the store stays until they know.

        Where it ends for another one (PEER_LOST) wait until that is named, which ends this process, too.
        """
        if code != PEER_LOST:
            self._failed = why
            self._say()
        deadline = time.monotonic() + _FAREWELL * (2 if code == PEER_LOST else 1)
        while (self._rank.first or code == PEER_LOST) and time.monotonic() < deadline:
            if code != PEER_LOST and all(known_to(sign) for sign, _ in list(self._heard.values())):
                break
            time.sleep(0.1)
            self._wake.set()

    def end(self) -> None:
        """Stop watching: a thread within the store when the interpreter ends would abort the process."""
        self._over.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(_LAST_WORDS)

    def _say(self) -> None:
        self._said.clear()
        self._wake.set()
        self._said.wait(_LAST_WORDS)

    # --- talking ------------------------------------------------------------------------------------

    def _talk(self) -> None:
        """Give signs of life and read those of the others, until this process or another one ends."""
        while not self._over.is_set():
            self._wake.clear()
            try:
                self._tell()
                self._said.set()
                self._listen()
                self._answered = time.monotonic()
            except (RuntimeError, ValueError, OSError):
                pass  # the other thread notices how long there has been no answer
            if not self._over.is_set():
                self._wake.wait(_EVERY)

    def _tell(self) -> None:
        self._beat += 1
        self._store.set(f"sign/{self._rank.rank}", json.dumps(asdict(self._sign())))

    def _sign(self) -> Sign:
        self._catch_up()
        still = self._progress.still()
        limit = self._progress.limit(self._hang_timeout, TIMEOUT.total_seconds())
        return Sign(
            self._rank.rank, self._beat, self._progress.moves, self._progress.busy, failure.stage(),
            _innermost(self._main), round(still, 1), still > limit, socket.gethostname(), os.getpid(),
            self._left, self._failed,
        )  # fmt: skip

    def _listen(self) -> None:
        if self._store.check([_VERDICT]):
            self._end(self._store.get(_VERDICT).decode())
        judges = self._rank.local_rank == 0
        others = range(self._rank.world_size) if judges else (0,)
        for rank in others:
            if rank != self._rank.rank:
                sign = Sign(**json.loads(self._store.get(f"sign/{rank}")))
                before = self._heard.get(rank)
                if before is None or before[0].beat != sign.beat:
                    self._heard[rank] = (sign, time.monotonic())
        if judges and not self._failed:
            self._judge()

    # --- judging ------------------------------------------------------------------------------------

    def _judge(self) -> None:
        self._catch_up()
        signs = [*(sign for sign, _ in self._heard.values() if not sign.left), self._sign()]
        why = self._fallen() or self._silent(self._peer_timeout)
        if not why and (why := hanging(signs)):
            # What a silent one was doing is long past: the others wait for it because it is silent.
            why = self._silent(self._doubtful) or why
        if why:
            # Whoever comes first; the others read what is there.
            self._store.compare_set(_VERDICT, "", why)
            self._end(self._store.get(_VERDICT).decode())
        if self._rank.first and (told := self._slow(signs)):
            print(f"warning: {told}", flush=True)

    def _fallen(self) -> str:
        """Tell which process ended by an error so long ago that this one would have ended by it, too."""
        for rank, (sign, _) in self._heard.items():
            since = self._failing.setdefault(rank, time.monotonic()) if sign.failed else None
            if since is not None and time.monotonic() - since > _LAST_WORDS:
                return f"{_BECAUSE}{sign.failed}"
        return ""

    def _silent(self, patience: float) -> str:
        """Tell which process has died, or has given no sign for longer than `patience` seconds."""
        now, host = time.monotonic(), socket.gethostname()
        for sign, at in list(self._heard.values()):
            if sign.left or sign.failed:
                continue
            if sign.host == host and is_dead(sign.pid):
                return self._died(sign)
            if now - at > patience:
                what = f"rank {sign.rank} on {sign.host} has given no sign of life for {now - at:.0f} s"
                return f"{what}: it is stopped, or its machine is gone ({described(sign)})"
        return ""

    def _died(self, sign: Sign) -> str:
        """Tell that a process is dead, or that it ended because this one was stopped for too long."""
        if self._stopped > self._doubtful and time.monotonic() - self._woken < 2 * _FAREWELL:
            return f"this process was stopped for {self._stopped:.0f} s, so that rank {sign.rank} has ended"
        return f"rank {sign.rank} has died without a message ({described(sign)}), {LIKELY}"

    def _slow(self, signs: Sequence[Sign]) -> str:
        """Name a process, once, that has computed far longer than the others since the last look."""
        before, now = self._slow_from, {sign.rank: sign for sign in signs}
        least = min((s.moves - before[r].moves for r, s in now.items() if r in before), default=0)
        if before.keys() != now.keys():
            self._slow_from = now
        if least < _SLOW_MOVES:
            return ""
        self._slow_from = now
        spent = {r: (s.busy - before[r].busy) / (s.moves - before[r].moves) for r, s in now.items()}
        usual = sorted(spent.values())[(len(spent) - 1) // 2]
        rank = max(spent, key=lambda r: spent[r])
        if rank in self._slow_told or spent[rank] < _SLOW * usual or spent[rank] - usual < 0.01:
            return ""
        self._slow_told.add(rank)
        return (
            f"rank {rank} on {now[rank].host} is slow: {spent[rank]:.2f} s of computing a batch,"
            f" {usual:.2f} s on the others, which wait for it"
        )

    # --- ending -------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Leave out a time in which this process was stopped itself, with the others perhaps (Ctrl-Z)."""
        with self._clock:
            now = time.monotonic()
            stopped, self._looked = now - self._looked, now
            if stopped <= _LAST_WORDS + _EVERY:
                return
            self._answered, self._stopped, self._woken = now, stopped, now
            self._progress.skip(stopped)
            for rank, (sign, at) in list(self._heard.items()):
                self._heard[rank] = sign, at + stopped

    def _see_to_it(self) -> None:
        """End this process where the store, which rank 0 holds, does not answer."""
        dead_since = time.monotonic()
        while not self._over.wait(_EVERY):
            self._catch_up()
            now = time.monotonic()
            first = self._heard[0][0] if 0 in self._heard else None
            if first is None or first.left:
                continue
            is_gone = first.host == socket.gethostname() and is_dead(first.pid)
            dead_since = dead_since if is_gone else now
            if now - dead_since > _LAST_WORDS:
                self._end(f"{_BECAUSE}{first.failed}" if first.failed else self._died(first))
            if now - self._answered > self._peer_timeout:
                silent = now - self._answered
                self._end(f"rank 0 does not answer for {silent:.0f} s: it is stopped, or has died")

    def _end(self, why: str) -> None:
        """Print where this process is, and end it; ask silent ones of this machine for their stacks.

        Where another one has said why it failed, nobody wants to know where this one was. One that is
        stopped is only woken: it finds itself alone and prints its stacks then. It would answer the signal
        while its threads run again, and stacks that change as they are read end in a segmentation fault.
        """
        self._ending.acquire()  # by one of the two threads
        if not why.startswith(_BECAUSE):
            say_aside(f"rank {self._rank.rank}, {failure.stage()}: where its threads are")
            with suppress(Exception):  # standard error may be no file
                faulthandler.dump_traceback(sys.stderr, all_threads=True)
        text = failure.told(why, self._rank.rank, PEER_LOST)
        failure.write(os.environ, text)
        say_aside(f"lingotune: {text}")
        silent = self._silent_here()
        for pid in silent:
            with suppress(ProcessLookupError):  # it may end as it is looked at
                if not is_stopped(pid):
                    # prints its stacks, even if a library holds the interpreter
                    os.kill(pid, signal.SIGUSR1)
        if self._rank.first:
            time.sleep(_FAREWELL)
        for pid in silent:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        os._exit(PEER_LOST)

    def _silent_here(self) -> list[int]:
        """Find the silent processes of this machine."""
        now, host = time.monotonic(), socket.gethostname()
        quiet = now - self._answered > self._peer_timeout
        return [
            sign.pid
            for sign, at in list(self._heard.values())
            if sign.host == host and not sign.left and not is_dead(sign.pid)
            and (quiet or now - at > self._doubtful)
        ]  # fmt: skip


@contextmanager
def watching(rank: Rank, peer_timeout: float, hang_timeout: float) -> Iterator[None]:
    """Watch the processes of a job while the block runs; a single process has nobody to watch."""
    store = _store(rank) if rank.world_size > 1 else None
    if store is None:
        yield
        return
    progress.pause()  # nobody was waited for before
    watch = Watch(rank, store, progress, (peer_timeout, hang_timeout))
    watch.start()
    try:
        yield
    except Exception as error:
        watch.fail(failure.paragraph(error, rank.rank), failure.code_of(error))
        raise
    else:
        watch.leave()
    finally:
        watch.end()


def _store(rank: Rank) -> Any:
    """Open a store of the watch alone, on a port of rank 0's machine; None if a rank cannot reach it."""
    from torch.distributed import TCPStore

    host, patience = os.environ.get("MASTER_ADDR", "localhost"), timedelta(seconds=60)
    store = TCPStore(host, 0, None, True, patience, wait_for_workers=False) if rank.first else None
    port = distributed.from_first(rank, store.port if store else 0)
    try:
        store = store or TCPStore(host, port, None, False, patience)
        why = ""
    except RuntimeError as error:
        why = f"rank {rank.rank} cannot reach {host}:{port}: {error}"
    if reasons := [one for one in distributed.gather(rank, why) if one]:
        if rank.first:
            print(f"warning: nobody watches over the processes: {reasons[0]}")
        return None
    return store


# --- what signs tell ------------------------------------------------------------------------------


def known_to(sign: Sign) -> bool:
    """Tell whether a process ends itself, or has ended."""
    here = sign.host == socket.gethostname()
    return sign.left or bool(sign.failed) or (here and is_dead(sign.pid))


def hanging(signs: Sequence[Sign]) -> str:
    """Tell which processes the others wait for, if any has not moved for too long."""
    if not any(sign.hangs for sign in signs):
        return ""
    least = min(sign.moves for sign in signs)
    behind = [sign for sign in signs if sign.moves == least]
    if len(behind) == len(signs):  # all are in the same step: those that wait for nobody
        behind = [sign for sign in signs if not waits(sign)] or list(signs)
    longest = max(sign.still for sign in signs)
    named = "; ".join(f"rank {sign.rank} on {sign.host} ({described(sign)})" for sign in behind)
    who = "all wait for" if len(behind) < len(signs) else "no rank moves:"
    return f"no progress for {longest:.0f} s, {who} {named}"


def waits(sign: Sign) -> bool:
    """Tell whether a process may be waiting for others."""
    return sign.where.rpartition(" ")[2] in _WAITS


def described(sign: Sign) -> str:
    """Say what a process did at its last sign of life."""
    return f"{sign.stage}, in {sign.where}"


def is_dead(pid: int) -> bool:
    """Tell whether a process of this machine has ended."""
    return _state(pid) in {"Z", "X"}


def is_stopped(pid: int) -> bool:
    """Tell whether a process of this machine is stopped, by a signal or a debugger."""
    return _state(pid) in {"T", "t"}


def _state(pid: int) -> str:
    """Read the letter for a process's state; X if it is gone, and none where there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X" if Path("/proc/self/stat").exists() else ""


def _innermost(thread: int | None) -> str:
    """Name the file, line and function that a thread is in."""
    frame = sys._current_frames().get(thread or 0)
    if frame is None:
        return "an unknown place"
    code = frame.f_code
    return f"{'/'.join(Path(code.co_filename).parts[-2:])}:{frame.f_lineno} {code.co_name}"
