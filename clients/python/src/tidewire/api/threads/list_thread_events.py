from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.thread_event_page import ThreadEventPage
from ...types import UNSET, Unset


def request(
    id: str,
    *,
    from_seq: int | Unset = UNSET,
    limit: int | Unset = UNSET,
    turn_id: str | Unset = UNSET,
    wait: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["from_seq"] = from_seq

    params["limit"] = limit

    params["turn_id"] = turn_id

    params["wait"] = wait

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/threads/{id}/events".format(
            id=quote(str(id), safe=""),
        ),
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> ThreadEventPage:
    if response.status_code == 200:
        response_200 = ThreadEventPage.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    from_seq: int | Unset = UNSET,
    limit: int | Unset = UNSET,
    turn_id: str | Unset = UNSET,
    wait: int | Unset = UNSET,
) -> ThreadEventPage:
    """Read a thread's events, in their order.

    With `wait` the answer is held until there is one (long-poll).

    Args:
        id (str):
        from_seq (int | Unset):
        limit (int | Unset):
        turn_id (str | Unset):
        wait (int | Unset):
    """
    return _read(
        client.send(
            request(
                id=id,
                from_seq=from_seq,
                limit=limit,
                turn_id=turn_id,
                wait=wait,
            )
        )
    )


async def asyncio(
    id: str,
    *,
    client: Client,
    from_seq: int | Unset = UNSET,
    limit: int | Unset = UNSET,
    turn_id: str | Unset = UNSET,
    wait: int | Unset = UNSET,
) -> ThreadEventPage:
    """Read a thread's events, in their order.

    With `wait` the answer is held until there is one (long-poll).

    Args:
        id (str):
        from_seq (int | Unset):
        limit (int | Unset):
        turn_id (str | Unset):
        wait (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                from_seq=from_seq,
                limit=limit,
                turn_id=turn_id,
                wait=wait,
            )
        )
    )
