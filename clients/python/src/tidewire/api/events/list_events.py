import datetime
from typing import Any

import httpx

from ...client import Client
from ...models.event_page import EventPage
from ...types import UNSET, Unset


def request(
    *,
    type_: str | Unset = UNSET,
    stream: str | Unset = UNSET,
    subject: str | Unset = UNSET,
    source: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["type"] = type_

    params["stream"] = stream

    params["subject"] = subject

    params["source"] = source

    json_from_: str | Unset = UNSET
    if not isinstance(from_, Unset):
        json_from_ = from_.isoformat()
    params["from"] = json_from_

    json_to: str | Unset = UNSET
    if not isinstance(to, Unset):
        json_to = to.isoformat()
    params["to"] = json_to

    params["cursor"] = cursor

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/events",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> EventPage:
    if response.status_code == 200:
        response_200 = EventPage.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    type_: str | Unset = UNSET,
    stream: str | Unset = UNSET,
    subject: str | Unset = UNSET,
    source: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> EventPage:
    """List events, newest first.

    Args:
        type_ (str | Unset):
        stream (str | Unset):
        subject (str | Unset):
        source (str | Unset):
        from_ (datetime.datetime | Unset):
        to (datetime.datetime | Unset):
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        client.send(
            request(
                type_=type_,
                stream=stream,
                subject=subject,
                source=source,
                from_=from_,
                to=to,
                cursor=cursor,
                limit=limit,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    type_: str | Unset = UNSET,
    stream: str | Unset = UNSET,
    subject: str | Unset = UNSET,
    source: str | Unset = UNSET,
    from_: datetime.datetime | Unset = UNSET,
    to: datetime.datetime | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> EventPage:
    """List events, newest first.

    Args:
        type_ (str | Unset):
        stream (str | Unset):
        subject (str | Unset):
        source (str | Unset):
        from_ (datetime.datetime | Unset):
        to (datetime.datetime | Unset):
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                type_=type_,
                stream=stream,
                subject=subject,
                source=source,
                from_=from_,
                to=to,
                cursor=cursor,
                limit=limit,
            )
        )
    )
