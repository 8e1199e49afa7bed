from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.archive import Archive
from ...models.job import Job
from ...models.new_thread_archive import NewThreadArchive


def request(
    id: str,
    *,
    body: NewThreadArchive,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/threads/{id}/archives".format(
            id=quote(str(id), safe=""),
        ),
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Archive | Job:
    if response.status_code == 200:
        response_200 = Archive.from_dict(response.json())

        return response_200

    if response.status_code == 202:
        response_202 = Job.from_dict(response.json())

        return response_202

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    body: NewThreadArchive,
) -> Archive | Job:
    """Archive a thread up to a place, or to its end.

    Answered with the archive that holds the last event asked for, as soon as it is sealed, also if it was
    before; with the job that goes on if that takes longer than a request may.

    Args:
        id (str):
        body (NewThreadArchive): Which part of a thread.
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
    body: NewThreadArchive,
) -> Archive | Job:
    """Archive a thread up to a place, or to its end.

    Answered with the archive that holds the last event asked for, as soon as it is sealed, also if it was
    before; with the job that goes on if that takes longer than a request may.

    Args:
        id (str):
        body (NewThreadArchive): Which part of a thread.
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                body=body,
            )
        )
    )
