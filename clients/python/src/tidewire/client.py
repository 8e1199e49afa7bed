"""The connection to a server: what every operation is sent by."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import httpx

from .errors import TidewireError, UnexpectedAnswer, error
from .retry import Retry

# A request may be held open for 60 s (claims, long polls); this much longer than that is no answer.
_TIMEOUT = httpx.Timeout(90.0, connect=10.0)


def new_idempotency_key() -> str:
    """A fresh key, under which a request happens once."""
    return str(uuid.uuid4())


class Client:
    """A server, and how it is asked.

    One client is for all of a program, and may be used by several threads, or by one event loop. It keeps connections
    open: close it, or use it in a `with` statement.

    Args:
        url: Where the server is.
        api_key: A key; none is needed by a server that is open to its own machine.
        tenant: The tenant to act on; only a key with the scope `admin` may choose.
        retry: How requests are repeated; `Retry(tries=1)` repeats nothing.
        timeout: How long an answer may take.
        settings: More arguments for the `httpx` clients: `verify`, `proxy`, `transport` …
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        api_key: str | None = None,
        tenant: str | None = None,
        retry: Retry = Retry(),
        timeout: float | httpx.Timeout = _TIMEOUT,
        **settings: Any,
    ) -> None:
        self.retry = retry
        headers = {"Accept": "application/json", **settings.pop("headers", {})}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        if tenant is not None:
            headers["X-Tenant"] = tenant
        self._settings = {"base_url": url.rstrip("/"), "headers": headers, "timeout": timeout, **settings}
        self._sync: httpx.Client | None = None
        self._async: httpx.AsyncClient | None = None

    @property
    def http(self) -> httpx.Client:
        """What sends blocking requests."""
        if self._sync is None:
            self._sync = httpx.Client(**self._settings)
        return self._sync

    @property
    def http_async(self) -> httpx.AsyncClient:
        """What sends requests that are awaited."""
        if self._async is None:
            self._async = httpx.AsyncClient(**self._settings)
        return self._async

    def send(self, request: dict[str, Any]) -> httpx.Response:
        """Send a request, again where that is safe, and return its answer if that is a success."""
        tried = 0
        while True:
            tried += 1
            failure: httpx.Response | httpx.TransportError
            try:
                failure = self.http.request(**request)
                if failure.is_success:
                    return failure
            except httpx.TransportError as broken:
                failure = broken
            time.sleep(self._wait(request, failure, tried))

    async def send_async(self, request: dict[str, Any]) -> httpx.Response:
        """The same, awaited."""
        tried = 0
        while True:
            tried += 1
            failure: httpx.Response | httpx.TransportError
            try:
                failure = await self.http_async.request(**request)
                if failure.is_success:
                    return failure
            except httpx.TransportError as broken:
                failure = broken
            await asyncio.sleep(self._wait(request, failure, tried))

    def _wait(self, request: dict[str, Any], failure: httpx.Response | httpx.TransportError, tried: int) -> float:
        wait = self.retry.wait_after(request, failure, tried)
        if wait is None:
            raise error(failure) if isinstance(failure, httpx.Response) else failure
        return wait

    @staticmethod
    def unexpected(response: httpx.Response) -> TidewireError:
        """The error that a success is which the operation does not know."""
        return UnexpectedAnswer(response)

    def close(self) -> None:
        """Close the connections of blocking requests."""
        if self._sync is not None:
            self._sync.close()

    async def aclose(self) -> None:
        """Close all connections."""
        self.close()
        if self._async is not None:
            await self._async.aclose()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
