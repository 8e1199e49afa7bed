from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.complete_job import CompleteJob
from ...models.job import Job


def request(
    id: str,
    *,
    body: CompleteJob,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/jobs/{id}/complete".format(
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
    body: CompleteJob,
) -> Job:
    """End a job well.

    A 409 means that the lease is lost; nothing changed. A lease that ran out is still good as long
    as nobody took the job over. Once the attempt has ended, saying so again is answered with the job
    as it is.

    Args:
        id (str):
        body (CompleteJob): A job that went well.
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
    body: CompleteJob,
) -> Job:
    """End a job well.

    A 409 means that the lease is lost; nothing changed. A lease that ran out is still good as long
    as nobody took the job over. Once the attempt has ended, saying so again is answered with the job
    as it is.

    Args:
        id (str):
        body (CompleteJob): A job that went well.
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                body=body,
            )
        )
    )
