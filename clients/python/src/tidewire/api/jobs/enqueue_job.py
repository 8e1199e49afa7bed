from typing import Any

import httpx

from ...client import Client, new_idempotency_key
from ...models.job import Job
from ...models.new_job import NewJob
from ...types import UNSET, Unset


def request(
    *,
    body: NewJob,
    idempotency_key: str | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    headers.setdefault("Idempotency-Key", new_idempotency_key())

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/jobs",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Job:
    if response.status_code == 200:
        response_200 = Job.from_dict(response.json())

        return response_200

    if response.status_code == 201:
        response_201 = Job.from_dict(response.json())

        return response_201

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: NewJob,
    idempotency_key: str | Unset = UNSET,
) -> Job:
    """Enqueue a job.

    Answered once the commit is durable. `idempotency_key` says that there is to be one such job;
    the header `Idempotency-Key` says that this is the same request as before, and gives its answer
    again for 24 hours, marked by the header `Idempotent-Replayed`.

    Args:
        idempotency_key (str | Unset):
        body (NewJob): A job to be enqueued.
    """
    return _read(
        client.send(
            request(
                body=body,
                idempotency_key=idempotency_key,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    body: NewJob,
    idempotency_key: str | Unset = UNSET,
) -> Job:
    """Enqueue a job.

    Answered once the commit is durable. `idempotency_key` says that there is to be one such job;
    the header `Idempotency-Key` says that this is the same request as before, and gives its answer
    again for 24 hours, marked by the header `Idempotent-Replayed`.

    Args:
        idempotency_key (str | Unset):
        body (NewJob): A job to be enqueued.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
                idempotency_key=idempotency_key,
            )
        )
    )
