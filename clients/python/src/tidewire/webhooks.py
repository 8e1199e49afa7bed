"""Deliveries of triggers, as an endpoint receives them: signed as Standard Webhooks has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

__all__ = ["Delivery", "Receiver", "WebhookVerificationError"]


@dataclass(frozen=True)
class Delivery:
    """A delivery whose signature is good."""

    #: The execution's id: the same for each attempt, so that a repetition is known.
    id: str
    #: When this attempt was sent.
    timestamp: datetime
    #: The body, as JSON; None if there is none.
    payload: Any
    #: The trigger's id; None for a test of a trigger that is not stored.
    trigger_id: str | None
    #: Which attempt this is, from 1.
    attempt: int


class Receiver:
    """Judges deliveries by the secrets of a trigger: one, or two while it is rotated."""

    def __init__(self, *secrets: str) -> None:
        if not secrets:
            raise ValueError("a receiver needs a secret")
        # A secret without the prefix is the key itself, byte for byte.
        self._webhooks = [Webhook(secret if secret.startswith("whsec_") else secret.encode()) for secret in secrets]

    def receive(self, body: bytes, headers: Mapping[str, str]) -> Delivery:
        """The delivery, if one of the secrets has signed it and it is no older than five minutes.

        Args:
            body: The body as it came, byte for byte.
            headers: The request's headers, by names of any case.

        Raises:
            WebhookVerificationError: It is not signed with any of the secrets, or is too old.
        """
        lower = {name.lower(): value for name, value in headers.items()}
        if not any(_has_signed(webhook, body, lower) for webhook in self._webhooks):
            raise WebhookVerificationError("no secret has signed this, or it is too old")
        return Delivery(
            id=lower["webhook-id"],
            timestamp=datetime.fromtimestamp(int(lower["webhook-timestamp"]), tz=UTC),
            payload=json.loads(body) if body else None,
            trigger_id=lower.get("x-tidewire-trigger"),
            attempt=int(lower.get("x-tidewire-attempt", "1")),
        )


def _has_signed(webhook: Webhook, body: bytes, headers: dict[str, str]) -> bool:
    try:
        webhook.verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):
        # It says ValueError of headers and bodies that are not of the form at all.
        return False
    return True
