from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.cancel_body import CancelBody
from ...models.cancelled_turn import CancelledTurn


def request(
    turn_id: str,
    *,
    body: CancelBody,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/turns/{turn_id}/cancel".format(
            turn_id=quote(str(turn_id), safe=""),
        ),
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> CancelledTurn:
    if response.status_code == 202:
        response_202 = CancelledTurn.from_dict(response.json())

        return response_202

    raise Client.unexpected(response)


def sync(
    turn_id: str,
    *,
    client: Client,
    body: CancelBody,
) -> CancelledTurn:
    """Cancel a turn.

    Its `turn.cancelled` is appended once, its agent's lease is lost, and the next turn of its thread
    goes on. A turn that has ended otherwise stays as it is: 409.

    Args:
        turn_id (str):
        body (CancelBody): Which turn is meant, and why.
    """
    return _read(
        client.send(
            request(
                turn_id=turn_id,
                body=body,
            )
        )
    )


async def asyncio(
    turn_id: str,
    *,
    client: Client,
    body: CancelBody,
) -> CancelledTurn:
    """Cancel a turn.

    Its `turn.cancelled` is appended once, its agent's lease is lost, and the next turn of its thread
    goes on. A turn that has ended otherwise stays as it is: 409.

    Args:
        turn_id (str):
        body (CancelBody): Which turn is meant, and why.
    """
    return _read(
        await client.send_async(
            request(
                turn_id=turn_id,
                body=body,
            )
        )
    )
