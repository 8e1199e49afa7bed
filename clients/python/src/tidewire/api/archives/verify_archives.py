from typing import Any

import httpx

from ...client import Client
from ...models.job import Job
from ...models.verify_archives import VerifyArchives


def request(
    *,
    body: VerifyArchives,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/archives/verify",
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
    body: VerifyArchives,
) -> Job:
    """Check every archive of every tenant, and look for objects that nobody knows (scope admin).

    The job has the type `archive.verify`; its output says what is wrong, and with `repair` what was mended.

    Args:
        body (VerifyArchives): What is to be checked: the payload of a job of type `archive.verify` too.
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
    body: VerifyArchives,
) -> Job:
    """Check every archive of every tenant, and look for objects that nobody knows (scope admin).

    The job has the type `archive.verify`; its output says what is wrong, and with `repair` what was mended.

    Args:
        body (VerifyArchives): What is to be checked: the payload of a job of type `archive.verify` too.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
