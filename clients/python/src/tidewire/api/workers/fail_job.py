from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.fail_job import FailJob
from ...models.job import Job


def request(
    id: str,
    *,
    body: FailJob,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/jobs/{id}/fail".format(
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
    body: FailJob,
) -> Job:
    """End an attempt badly.

    The job is tried again after `retry_in_seconds` (after 2 s · 2^(n−1) ± 20 %, at most an hour,
    without it), unless its attempts are used up or it is `permanent`. Once the attempt has ended,
    saying so again is answered with the job as it is.

    Args:
        id (str):
        body (FailJob): An attempt that went badly.
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
    body: FailJob,
) -> Job:
    """End an attempt badly.

    The job is tried again after `retry_in_seconds` (after 2 s · 2^(n−1) ± 20 %, at most an hour,
    without it), unless its attempts are used up or it is `permanent`. Once the attempt has ended,
    saying so again is answered with the job as it is.

    Args:
        id (str):
        body (FailJob): An attempt that went badly.
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                body=body,
            )
        )
    )
