"""Deliveries that the server signs, as a receiver judges them."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from conftest import eventually

from tidewire import Client, Receiver, WebhookVerificationError
from tidewire.api.triggers import test_config
from tidewire.models import TestConfig, TriggerType, WebhookConfig

test_config.__test__ = False  # type: ignore[attr-defined]
TestConfig.__test__ = False  # type: ignore[attr-defined]

Got = list[tuple[bytes, dict[str, str]]]

OLD, NEW = "whsec_" + "A" * 43 + "=", "a text of one's own"


@pytest.fixture
def sink() -> Iterator[tuple[str, Got]]:
    got: Got = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.rfile.read(int(self.headers["content-length"])), dict(self.headers)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/in", got
        server.shutdown()


def test_a_delivery_is_taken_by_each_secret_and_by_no_other(client: Client, sink: tuple[str, Got]) -> None:
    endpoint, got = sink
    payload = {"text": "grün € 🌊", "n": [1, None]}
    config = WebhookConfig(endpoint=endpoint, secret=[OLD, NEW], payload=payload)
    fired = test_config.sync(client=client, body=TestConfig(type_=TriggerType.WEBHOOK, config=config))
    body, headers = eventually("it is delivered", lambda: got[0] if got else None)
    for secrets in ([OLD], [NEW], ["whsec_" + "B" * 43 + "=", NEW]):
        delivery = Receiver(*secrets).receive(body, headers)
        assert (delivery.id, delivery.payload, delivery.attempt) == (fired.execution_id, payload, 1)
        assert delivery.trigger_id is None
    with pytest.raises(WebhookVerificationError):
        Receiver("another").receive(body, headers)
    with pytest.raises(WebhookVerificationError):
        Receiver(OLD).receive(body + b" ", headers)
    for wrong in ({}, {**headers, "webhook-timestamp": "1700000000"}, {**headers, "webhook-signature": "nonsense"}):
        lower = {name.lower(): value for name, value in headers.items()}
        mended = wrong and {**lower, **{k: v for k, v in wrong.items() if k.islower()}}
        with pytest.raises(WebhookVerificationError):
            Receiver(OLD).receive(body, mended)
