from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.job import Job
from ...models.release_job import ReleaseJob


def request(
    id: str,
    *,
    body: ReleaseJob,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/jobs/{id}/release".format(
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
    body: ReleaseJob,
) -> Job:
    """Give a job back unfinished.

    It is pending again at once, in its old place, and the attempt does not count.

    Args:
        id (str):
        body (ReleaseJob): A job that is given back.
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
    body: ReleaseJob,
) -> Job:
    """Give a job back unfinished.

    It is pending again at once, in its old place, and the attempt does not count.

    Args:
        id (str):
        body (ReleaseJob): A job that is given back.
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                body=body,
            )
        )
    )
