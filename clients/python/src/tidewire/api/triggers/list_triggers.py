from typing import Any

import httpx

from ...client import Client
from ...models.trigger_list import TriggerList
from ...models.trigger_status import TriggerStatus
from ...models.trigger_type import TriggerType
from ...types import UNSET, Unset


def request(
    *,
    type_: TriggerType | Unset = UNSET,
    status: TriggerStatus | Unset = UNSET,
    page: int | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    json_type_: str | Unset = UNSET
    if not isinstance(type_, Unset):
        json_type_ = type_.value

    params["type"] = json_type_

    json_status: str | Unset = UNSET
    if not isinstance(status, Unset):
        json_status = status.value

    params["status"] = json_status

    params["page"] = page

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/triggers",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> TriggerList:
    if response.status_code == 200:
        response_200 = TriggerList.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    type_: TriggerType | Unset = UNSET,
    status: TriggerStatus | Unset = UNSET,
    page: int | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> TriggerList:
    """List triggers, newest first.

    Args:
        type_ (TriggerType | Unset): What makes a trigger fire.
        status (TriggerStatus | Unset):
        page (int | Unset):
        limit (int | Unset):
    """
    return _read(
        client.send(
            request(
                type_=type_,
                status=status,
                page=page,
                limit=limit,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    type_: TriggerType | Unset = UNSET,
    status: TriggerStatus | Unset = UNSET,
    page: int | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> TriggerList:
    """List triggers, newest first.

    Args:
        type_ (TriggerType | Unset): What makes a trigger fire.
        status (TriggerStatus | Unset):
        page (int | Unset):
        limit (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                type_=type_,
                status=status,
                page=page,
                limit=limit,
            )
        )
    )
