from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.schedule_list import ScheduleList
from ...models.schedule_status import ScheduleStatus
from ...types import UNSET, Unset


def request(
    id: str,
    *,
    status: ScheduleStatus | Unset = UNSET,
    page: int | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    json_status: str | Unset = UNSET
    if not isinstance(status, Unset):
        json_status = status.value

    params["status"] = json_status

    params["page"] = page

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/triggers/{id}/schedules".format(
            id=quote(str(id), safe=""),
        ),
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> ScheduleList:
    if response.status_code == 200:
        response_200 = ScheduleList.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    status: ScheduleStatus | Unset = UNSET,
    page: int | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> ScheduleList:
    """List the occurrences of a trigger, the latest first.

    There is at most one that is pending: the next. Those of the past are kept as long as executions
    are.

    Args:
        id (str):
        status (ScheduleStatus | Unset): How far one coming occurrence of a trigger is.
        page (int | Unset):
        limit (int | Unset):
    """
    return _read(
        client.send(
            request(
                id=id,
                status=status,
                page=page,
                limit=limit,
            )
        )
    )


async def asyncio(
    id: str,
    *,
    client: Client,
    status: ScheduleStatus | Unset = UNSET,
    page: int | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> ScheduleList:
    """List the occurrences of a trigger, the latest first.

    There is at most one that is pending: the next. Those of the past are kept as long as executions
    are.

    Args:
        id (str):
        status (ScheduleStatus | Unset): How far one coming occurrence of a trigger is.
        page (int | Unset):
        limit (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                status=status,
                page=page,
                limit=limit,
            )
        )
    )
