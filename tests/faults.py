"""A proxy in front of an account that fails as AWS and networks do, by seeded chance, and counts calls."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from http.server import BaseHTTPRequestHandler
from threading import Lock

from loopback import Call, Front, forward, refusal, reply_to


@dataclass(frozen=True)
class Rates:
    """Shares of the calls of an operation that fail, each from 0 to 1, together at most 1.

    throttled: refused, to be repeated. unavailable: 500 or 503. dropped: the connection ends before the
    call takes effect. lost: it ends after the call took effect, without an answer. slow: answered late.
    """

    throttled: float = 0.0
    unavailable: float = 0.0
    dropped: float = 0.0
    lost: float = 0.0
    slow: float = 0.0

    @classmethod
    def of(cls, share: float) -> Rates:
        """All kinds alike, together this share."""
        kinds = fields(cls)
        return cls(**{kind.name: share / len(kinds) for kind in kinds})


@dataclass
class Faults:
    """Faults to come, and those that there were.

    seed: of the chance. usual: rates of all operations but those in `rates` (`CreateTrainingJob`,
    `PutObject`). delay: seconds of a slow answer. calls: number of calls by operation, failed ones too.
    failed: number by operation and kind of fault.
    """

    seed: int = 0
    usual: Rates = Rates()
    rates: Mapping[str, Rates] = field(default_factory=dict)
    delay: float = 0.2
    calls: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance, self._lock = random.Random(self.seed), Lock()
        self._by_operation: dict[str, random.Random] = {}

    def next(self, operation: str) -> str:
        """Count a call, and draw what happens to it: the name of a rate, or '' for nothing."""
        rates = self.rates.get(operation, self.usual)
        with self._lock:
            self.calls[operation] += 1
            # What becomes of one kind of calls does not hang on how many others there are.
            chance = random.Random(f"{self.seed} {operation}")
            drawn = self._by_operation.setdefault(operation, chance).random()
            for kind in fields(rates):
                drawn -= getattr(rates, kind.name)
                if drawn < 0:
                    self.failed[operation, kind.name] += 1
                    return kind.name
        return ""

    def either(self, *choices: int) -> int:
        """Draw one of some numbers."""
        with self._lock:
            return self._chance.choice(choices)


class FaultyFront(Front):
    """Front that lets calls through to an account unless `faults` says otherwise."""

    def __init__(self, upstream: tuple[str, int], faults: Faults) -> None:
        self._faults = faults
        super().__init__(upstream)

    def answer(
        self, request: BaseHTTPRequestHandler, body: bytes, call: Call, upstream: tuple[str, int]
    ) -> None:
        """Fail the call, or let it through."""
        fault = self._faults.next(operation_of(call))
        if fault == "throttled":
            code, status = _THROTTLED.get(call.service, ("ThrottlingException", 400))
            reply_to(request, refusal(code, "Rate exceeded", status), call)
        elif fault == "unavailable":
            status = self._faults.either(500, 503)
            code = "InternalFailure" if status == 500 else "ServiceUnavailable"
            reply_to(request, refusal(code, "told by the proxy", status), call)
        elif fault == "dropped":
            _hang_up(request)
        elif fault == "lost":
            forward(request.command, request.path, request.headers, body, upstream)
            _hang_up(request)
        else:
            if fault == "slow":
                time.sleep(self._faults.delay)
            super().answer(request, body, call, upstream)


_THROTTLED = {"s3": ("SlowDown", 503), "iam": ("Throttling", 400), "sts": ("Throttling", 400)}
_S3 = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}


def operation_of(call: Call) -> str:
    """Name a call's operation; of objects in S3 by the method, without the key."""
    method, blank, _ = call.operation.partition(" ")
    return _S3.get(method, f"{method} {call.service}") if blank else call.operation


def _hang_up(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)
