from typing import Any

import httpx

from ...client import Client
from ...models.retried_jobs import RetriedJobs
from ...models.retry_jobs import RetryJobs
from ...types import UNSET, Unset


def request(
    *,
    body: None | RetryJobs | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/jobs/retry",
    }

    if isinstance(body, RetryJobs):
        _kwargs["json"] = body.to_dict()
    else:
        _kwargs["json"] = body

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> RetriedJobs:
    if response.status_code == 200:
        response_200 = RetriedJobs.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: None | RetryJobs | Unset = UNSET,
) -> RetriedJobs:
    """Put all failed jobs back into their queues, or those of a type or queue.

    Cancelled jobs stay cancelled. It works in batches: when it is cut off, what was retried stays
    so, and a second call does the rest.

    Args:
        body (None | RetryJobs | Unset):
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
    body: None | RetryJobs | Unset = UNSET,
) -> RetriedJobs:
    """Put all failed jobs back into their queues, or those of a type or queue.

    Cancelled jobs stay cancelled. It works in batches: when it is cut off, what was retried stays
    so, and a second call does the rest.

    Args:
        body (None | RetryJobs | Unset):
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
