from typing import Any

import httpx

from ...client import Client
from ...models.job import Job
from ...models.new_archives import NewArchives


def request(
    *,
    body: NewArchives,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/archives",
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
    body: NewArchives,
) -> Job:
    """Archive streams: one, a thread, or all.

    Each stream is archived from where it was archived last, in ranges of at most a million events. With
    `trim` what is archived leaves the database and is read from the archives: no answer changes by it. The
    job has the type `archive.run`; what it has done is its output. A range that would leave a hole is a 409,
    and so is one beyond the stream's end.

    Args:
        body (NewArchives): What is to be archived, of one tenant. The payload of a job of type
            `archive.run` too.
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
    body: NewArchives,
) -> Job:
    """Archive streams: one, a thread, or all.

    Each stream is archived from where it was archived last, in ranges of at most a million events. With
    `trim` what is archived leaves the database and is read from the archives: no answer changes by it. The
    job has the type `archive.run`; what it has done is its output. A range that would leave a hole is a 409,
    and so is one beyond the stream's end.

    Args:
        body (NewArchives): What is to be archived, of one tenant. The payload of a job of type
            `archive.run` too.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
