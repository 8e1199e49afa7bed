from typing import Any

import httpx

from ...client import Client, new_idempotency_key
from ...models.accepted_turn import AcceptedTurn
from ...models.new_turn import NewTurn
from ...types import UNSET, Unset


def request(
    *,
    body: NewTurn,
    idempotency_key: str | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    headers.setdefault("Idempotency-Key", new_idempotency_key())

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/turns",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> AcceptedTurn:
    if response.status_code == 200:
        response_200 = AcceptedTurn.from_dict(response.json())

        return response_200

    if response.status_code == 202:
        response_202 = AcceptedTurn.from_dict(response.json())

        return response_202

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: NewTurn,
    idempotency_key: str | Unset = UNSET,
) -> AcceptedTurn:
    """Ask an agent for a turn.

    The turn is recorded, its `turn.started` appended and its job of type `agent.turn` queued, behind
    the open turns of its thread. The same `turn_id` again is answered as at first, with 200, whatever
    has become of the turn. The header `Idempotency-Key` does the same for a turn without an id, and
    marks the answer by the header `Idempotent-Replayed`.

    Args:
        idempotency_key (str | Unset):
        body (NewTurn): A turn to be run. Example: {'input': 'Where is my order?', 'thread_id':
            'support-42'}.
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
    body: NewTurn,
    idempotency_key: str | Unset = UNSET,
) -> AcceptedTurn:
    """Ask an agent for a turn.

    The turn is recorded, its `turn.started` appended and its job of type `agent.turn` queued, behind
    the open turns of its thread. The same `turn_id` again is answered as at first, with 200, whatever
    has become of the turn. The header `Idempotency-Key` does the same for a turn without an id, and
    marks the answer by the header `Idempotent-Replayed`.

    Args:
        idempotency_key (str | Unset):
        body (NewTurn): A turn to be run. Example: {'input': 'Where is my order?', 'thread_id':
            'support-42'}.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
                idempotency_key=idempotency_key,
            )
        )
    )
