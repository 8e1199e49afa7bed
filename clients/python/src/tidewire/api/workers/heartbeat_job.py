from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.heartbeat_job import HeartbeatJob
from ...models.job import Job


def request(
    id: str,
    *,
    body: HeartbeatJob,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/jobs/{id}/heartbeat".format(
            id=quote(str(id), safe=""),
        ),
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Job:
    if response.status_code == 200:
        response_200 = Job.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    body: HeartbeatJob,
) -> Job:
    """Say that a job is still being worked on, and how far it is.

    A 409 means that it is not this worker's any more (it was cancelled, taken over, or has run
    longer than its timeout): stop working on it.

    Args:
        id (str):
        body (HeartbeatJob): A sign of life.
    """
    return _read(
        client.send(
            request(
                id=id,
                body=body,
            )
        )
    )


async def asyncio(
    id: str,
    *,
    client: Client,
    body: HeartbeatJob,
) -> Job:
    """Say that a job is still being worked on, and how far it is.

    A 409 means that it is not this worker's any more (it was cancelled, taken over, or has run
    longer than its timeout): stop working on it.

    Args:
        id (str):
        body (HeartbeatJob): A sign of life.
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                body=body,
            )
        )
    )
