"""The client of Tidewire, an event backbone in one binary.

The operations are in `tidewire.api`, their bodies and answers in `tidewire.models`; both are made of the API's
description. Beside them stands what a description cannot say: the connection and its repeats (`Client`), live streams
(`follow_events`, `follow_thread`), a worker (`Worker`) and the receiver of deliveries (`Receiver`).
"""

from .client import Client, new_idempotency_key
from .errors import ApiError, TidewireError, UnexpectedAnswer
from .follow import follow_events, follow_thread
from .retry import Retry
from .webhooks import Delivery, Receiver, WebhookVerificationError
from .worker import Failure, Release, Work, Worker

__all__ = [
    "ApiError",
    "Client",
    "Delivery",
    "Failure",
    "Receiver",
    "Release",
    "Retry",
    "TidewireError",
    "UnexpectedAnswer",
    "WebhookVerificationError",
    "Work",
    "Worker",
    "follow_events",
    "follow_thread",
    "new_idempotency_key",
]
