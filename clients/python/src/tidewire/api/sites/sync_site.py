from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.job import Job
from ...models.sync_report import SyncReport
from ...types import UNSET, Unset


def request(
    id: str,
    resource: str,
    *,
    background: bool | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["background"] = background

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/sites/{id}/sync/{resource}".format(
            id=quote(str(id), safe=""),
            resource=quote(str(resource), safe=""),
        ),
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> SyncReport | Job:
    if response.status_code == 200:
        response_200 = SyncReport.from_dict(response.json())

        return response_200

    if response.status_code == 202:
        response_202 = Job.from_dict(response.json())

        return response_202

    raise Client.unexpected(response)


def sync(
    id: str,
    resource: str,
    *,
    client: Client,
    background: bool | Unset = UNSET,
) -> SyncReport | Job:
    """Read one of a site's lists to its end: new records become events.

    Answered when that is done; with `background`, or when it takes longer than 10 minutes, by the job
    that does it. Its `progress` says how far it is. A source that refuses the key stops the site: it is
    `revoked`, and a sync is a 409, until it is registered again.

    Args:
        id (str):
        resource (str):
        background (bool | Unset):
    """
    return _read(
        client.send(
            request(
                id=id,
                resource=resource,
                background=background,
            )
        )
    )


async def asyncio(
    id: str,
    resource: str,
    *,
    client: Client,
    background: bool | Unset = UNSET,
) -> SyncReport | Job:
    """Read one of a site's lists to its end: new records become events.

    Answered when that is done; with `background`, or when it takes longer than 10 minutes, by the job
    that does it. Its `progress` says how far it is. A source that refuses the key stops the site: it is
    `revoked`, and a sync is a 409, until it is registered again.

    Args:
        id (str):
        resource (str):
        background (bool | Unset):
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                resource=resource,
                background=background,
            )
        )
    )
