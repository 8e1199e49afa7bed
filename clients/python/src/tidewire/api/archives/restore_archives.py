from typing import Any

import httpx

from ...client import Client
from ...models.job import Job
from ...models.restore_archives import RestoreArchives


def request(
    *,
    body: RestoreArchives,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/archives/restore",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Job:
    if response.status_code == 202:
        response_202 = Job.from_dict(response.json())

        return response_202

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: RestoreArchives,
) -> Job:
    """Put trimmed events back into the database, from a place of a stream on.

    The archives stay as they are. The job has the type `archive.restore`.

    Args:
        body (RestoreArchives): What is to be put back: the payload of a job of type `archive.restore` too.
    """
    return _read(
        client.send(
            request(
                body=body,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    body: RestoreArchives,
) -> Job:
    """Put trimmed events back into the database, from a place of a stream on.

    The archives stay as they are. The job has the type `archive.restore`.

    Args:
        body (RestoreArchives): What is to be put back: the payload of a job of type `archive.restore` too.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
