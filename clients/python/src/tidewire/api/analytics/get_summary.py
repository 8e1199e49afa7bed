import datetime
from typing import Any

import httpx

from ...client import Client
from ...models.summary import Summary
from ...types import UNSET, Unset


def request(
    *,
    from_: datetime.date | Unset = UNSET,
    to: datetime.date | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    json_from_: str | Unset = UNSET
    if not isinstance(from_, Unset):
        json_from_ = from_.isoformat()
    params["from"] = json_from_

    json_to: str | Unset = UNSET
    if not isinstance(to, Unset):
        json_to = to.isoformat()
    params["to"] = json_to

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/analytics/summary",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> Summary:
    if response.status_code == 200:
        response_200 = Summary.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    from_: datetime.date | Unset = UNSET,
    to: datetime.date | Unset = UNSET,
) -> Summary:
    """Counts over a range of days.

    Args:
        from_ (datetime.date | Unset):
        to (datetime.date | Unset):
    """
    return _read(
        client.send(
            request(
                from_=from_,
                to=to,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    from_: datetime.date | Unset = UNSET,
    to: datetime.date | Unset = UNSET,
) -> Summary:
    """Counts over a range of days.

    Args:
        from_ (datetime.date | Unset):
        to (datetime.date | Unset):
    """
    return _read(
        await client.send_async(
            request(
                from_=from_,
                to=to,
            )
        )
    )
