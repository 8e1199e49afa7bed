import datetime
from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.preview import Preview
from ...types import UNSET, Unset


def request(
    id: str,
    *,
    from_: datetime.datetime | Unset = UNSET,
    count: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    json_from_: str | Unset = UNSET
    if not isinstance(from_, Unset):
        json_from_ = from_.isoformat()
    params["from"] = json_from_

    params["count"] = count

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/triggers/{id}/preview".format(
            id=quote(str(id), safe=""),
        ),
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> Preview:
    if response.status_code == 200:
        response_200 = Preview.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    from_: datetime.datetime | Unset = UNSET,
    count: int | Unset = UNSET,
) -> Preview:
    """Say when a stored trigger will fire, as if it were active.

    Args:
        id (str):
        from_ (datetime.datetime | Unset):
        count (int | Unset):
    """
    return _read(
        client.send(
            request(
                id=id,
                from_=from_,
                count=count,
            )
        )
    )


async def asyncio(
    id: str,
    *,
    client: Client,
    from_: datetime.datetime | Unset = UNSET,
    count: int | Unset = UNSET,
) -> Preview:
    """Say when a stored trigger will fire, as if it were active.

    Args:
        id (str):
        from_ (datetime.datetime | Unset):
        count (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                from_=from_,
                count=count,
            )
        )
    )
