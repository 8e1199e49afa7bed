from typing import Any

import httpx

from ...client import Client, new_idempotency_key
from ...models.new_trigger import NewTrigger
from ...models.trigger import Trigger
from ...types import UNSET, Unset


def request(
    *,
    body: NewTrigger,
    idempotency_key: str | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    headers.setdefault("Idempotency-Key", new_idempotency_key())

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/triggers",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Trigger:
    if response.status_code == 201:
        response_201 = Trigger.from_dict(response.json())

        return response_201

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: NewTrigger,
    idempotency_key: str | Unset = UNSET,
) -> Trigger:
    """Make a trigger.

    It is stored together with its first occurrence, if it fires by the clock. The header
    `Idempotency-Key` says that this is the same request as before, and gives its answer again for
    24 hours, marked by the header `Idempotent-Replayed`.

    Args:
        idempotency_key (str | Unset):
        body (NewTrigger): A trigger to be made. Example: {'config': {'cron': '0 2 * * *', 'endpoint':
            'https://hooks.example/in', 'timezone': 'Europe/Berlin'}, 'name': 'nightly report', 'type':
            'cron_scheduled'}.
    """
    return _read(
        client.send(
            request(
                body=body,
                idempotency_key=idempotency_key,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    body: NewTrigger,
    idempotency_key: str | Unset = UNSET,
) -> Trigger:
    """Make a trigger.

    It is stored together with its first occurrence, if it fires by the clock. The header
    `Idempotency-Key` says that this is the same request as before, and gives its answer again for
    24 hours, marked by the header `Idempotent-Replayed`.

    Args:
        idempotency_key (str | Unset):
        body (NewTrigger): A trigger to be made. Example: {'config': {'cron': '0 2 * * *', 'endpoint':
            'https://hooks.example/in', 'timezone': 'Europe/Berlin'}, 'name': 'nightly report', 'type':
            'cron_scheduled'}.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
                idempotency_key=idempotency_key,
            )
        )
    )
