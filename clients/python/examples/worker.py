"""A worker: counts the words of texts, from the queue `texts`."""

import os
import signal

from tidewire import Client, Failure, Work, Worker


def word_count(work: Work) -> dict[str, int]:
    text = work.payload.get("text")
    if not isinstance(text, str):
        raise Failure("the payload has no text", permanent=True)
    return {"words": len(text.split())}


url = os.environ.get("TIDEWIRE_SERVER", "http://127.0.0.1:8080")
with Client(url, api_key=os.environ.get("TIDEWIRE_API_KEY")) as client:
    worker = Worker(client, {"word-count": word_count}, queues=["texts"], concurrency=8)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()
