"""When a request is sent again. A repeat must never do a thing twice."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from .errors import retry_after

# Nothing has happened: the server did not take the request.
_REFUSED = frozenset({429, 503})
# Whether something has happened is unknown: the answer is another's.
_LOST = frozenset({502, 504})
# What makes one of these safe to send again: the server knows it by this when it comes twice. The lease's token is of
# that kind, for a report of a job that has ended is answered as it was.
_KEYS = ("dedupe_key", "idempotency_key", "event_id", "turn_id", "lease_token")


@dataclass(frozen=True)
class Retry:
    """How often, and how patiently, a client repeats what may be repeated.

    Reads, and writes that the server knows again, are repeated after broken connections, time-outs, 429, 502, 503 and
    504; other writes only where nothing can have happened. A `Retry-After` is obeyed up to `longest_wait`.
    """

    tries: int = 5
    base: float = 0.2
    cap: float = 5.0
    longest_wait: float = 60.0

    def wait_after(self, request: Mapping[str, Any], failure: httpx.Response | Exception, tried: int) -> float | None:
        """The seconds to wait before the next try; None gives up."""
        if tried >= self.tries or not _may_repeat(request, failure):
            return None
        wait = self.backoff(tried)
        if isinstance(failure, httpx.Response):
            wait = max(wait, retry_after(failure) or 0.0)
        return wait if wait <= self.longest_wait else None

    def backoff(self, tried: int) -> float:
        """The wait after try number `tried`, with a jitter of a fifth."""
        return min(self.cap, self.base * 2.0 ** min(tried - 1, 30)) * random.uniform(0.8, 1.2)


def _may_repeat(request: Mapping[str, Any], failure: httpx.Response | Exception) -> bool:
    if isinstance(failure, httpx.Response):
        return failure.status_code in _REFUSED or (failure.status_code in _LOST and _is_known_again(request))
    if isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return True
    return isinstance(failure, httpx.TransportError) and _is_known_again(request)


def _is_known_again(request: Mapping[str, Any]) -> bool:
    if request["method"].upper() != "POST" or "Idempotency-Key" in request.get("headers", {}):
        return True
    body = request.get("json")
    parts = body if isinstance(body, list) else [body]
    return bool(parts) and all(isinstance(part, dict) and any(part.get(key) for key in _KEYS) for part in parts)
