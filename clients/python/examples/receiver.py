"""Receives the deliveries of a trigger, and believes those that are signed."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tidewire import Receiver, WebhookVerificationError

receiver = Receiver(os.environ["SECRET"])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            delivery = receiver.receive(body, dict(self.headers))
        except WebhookVerificationError:
            return self.answer(401)
        print(f"{delivery.id} attempt {delivery.attempt}: {delivery.payload}", flush=True)
        return self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Handler)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
