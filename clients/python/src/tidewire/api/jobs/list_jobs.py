from typing import Any

import httpx

from ...client import Client
from ...models.job_list import JobList
from ...models.job_status import JobStatus
from ...types import UNSET, Unset


def request(
    *,
    status: JobStatus | Unset = UNSET,
    type_: str | Unset = UNSET,
    queue: str | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    json_status: str | Unset = UNSET
    if not isinstance(status, Unset):
        json_status = status.value

    params["status"] = json_status

    params["type"] = type_

    params["queue"] = queue

    params["cursor"] = cursor

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/jobs",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> JobList:
    if response.status_code == 200:
        response_200 = JobList.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    status: JobStatus | Unset = UNSET,
    type_: str | Unset = UNSET,
    queue: str | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> JobList:
    """List jobs, newest first.

    Args:
        status (JobStatus | Unset):
        type_ (str | Unset):
        queue (str | Unset):
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        client.send(
            request(
                status=status,
                type_=type_,
                queue=queue,
                cursor=cursor,
                limit=limit,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    status: JobStatus | Unset = UNSET,
    type_: str | Unset = UNSET,
    queue: str | Unset = UNSET,
    cursor: str | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> JobList:
    """List jobs, newest first.

    Args:
        status (JobStatus | Unset):
        type_ (str | Unset):
        queue (str | Unset):
        cursor (str | Unset):
        limit (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                status=status,
                type_=type_,
                queue=queue,
                cursor=cursor,
                limit=limit,
            )
        )
    )
