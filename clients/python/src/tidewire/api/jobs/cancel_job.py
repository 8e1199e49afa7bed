from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.job import Job


def request(
    id: str,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/jobs/{id}/cancel".format(
            id=quote(str(id), safe=""),
        ),
    }
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
) -> Job:
    """Cancel a job that is pending or running.

    A running one's worker loses its lease. Cancelling a cancelled job again is a 200; one that is
    done or failed is a 409.

    Args:
        id (str):
    """
    return _read(
        client.send(
            request(
                id=id,
            )
        )
    )


async def asyncio(
    id: str,
    *,
    client: Client,
) -> Job:
    """Cancel a job that is pending or running.

    A running one's worker loses its lease. Cancelling a cancelled job again is a 200; one that is
    done or failed is a 409.

    Args:
        id (str):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
            )
        )
    )
