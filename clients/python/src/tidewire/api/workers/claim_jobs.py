from typing import Any

import httpx

from ...client import Client
from ...models.claim_jobs import ClaimJobs
from ...models.claimed_jobs import ClaimedJobs


def request(
    *,
    body: ClaimJobs,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/jobs/claim",
    }
    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> ClaimedJobs:
    if response.status_code == 200:
        response_200 = ClaimedJobs.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: ClaimJobs,
) -> ClaimedJobs:
    """Claim jobs that are due.

    Held open up to `wait_seconds` until there is one; empty if none came. The most urgent come
    first: by `priority`, then by `run_at`. With the key of an agent's instance it is the turns of the
    instance's own thread, under the instance's own name.

    Args:
        body (ClaimJobs): What a worker asks for.
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
    body: ClaimJobs,
) -> ClaimedJobs:
    """Claim jobs that are due.

    Held open up to `wait_seconds` until there is one; empty if none came. The most urgent come
    first: by `priority`, then by `run_at`. With the key of an agent's instance it is the turns of the
    instance's own thread, under the instance's own name.

    Args:
        body (ClaimJobs): What a worker asks for.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
            )
        )
    )
