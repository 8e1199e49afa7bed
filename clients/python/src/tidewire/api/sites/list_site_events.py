from typing import Any

import httpx

from ...client import Client
from ...models.site_event_page import SiteEventPage
from ...types import UNSET, Unset


def request(
    *,
    user_id: str | Unset = UNSET,
    type_: str | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["user_id"] = user_id

    params["type"] = type_

    params["cursor"] = cursor

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/site-events",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> SiteEventPage:
    if response.status_code == 200:
        response_200 = SiteEventPage.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    user_id: str | Unset = UNSET,
    type_: str | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> SiteEventPage:
    """List what is known of sites and their users, newest first: what syncs stored, and what was recorded.

    Args:
        user_id (str | Unset):
        type_ (str | Unset):
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        client.send(
            request(
                user_id=user_id,
                type_=type_,
                cursor=cursor,
                limit=limit,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    user_id: str | Unset = UNSET,
    type_: str | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> SiteEventPage:
    """List what is known of sites and their users, newest first: what syncs stored, and what was recorded.

    Args:
        user_id (str | Unset):
        type_ (str | Unset):
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                user_id=user_id,
                type_=type_,
                cursor=cursor,
                limit=limit,
            )
        )
    )
