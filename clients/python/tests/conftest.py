"""Tests against a running server: `TIDEWIRE_SERVER` says where, `TIDEWIRE_API_KEY` is a key of a tenant of its own."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tidewire import Client

T = TypeVar("T")


@pytest.fixture(scope="session")
def url() -> str:
    return os.environ["TIDEWIRE_SERVER"]


@pytest.fixture(scope="session")
def key() -> str | None:
    return os.environ.get("TIDEWIRE_API_KEY")


@pytest.fixture
def client(url: str, key: str | None) -> Iterator[Client]:
    with Client(url, api_key=key) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"py-{uuid.uuid4()}"


def eventually(what: str, look: Callable[[], T | None]) -> T:
    """What `look` finds, within half a minute."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within 30 s: {what}")


class Cutter:
    """A proxy in front of the server whose connections can be cut."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._open.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pipe, args=(one, other), daemon=True).start()

    @staticmethod
    def _pipe(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            end.close()


@pytest.fixture
def cutter(url: str) -> Iterator[Cutter]:
    cutter = Cutter(url)
    yield cutter
    cutter.close()
