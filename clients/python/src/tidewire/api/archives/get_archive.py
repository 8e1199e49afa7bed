from io import BytesIO
from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...types import UNSET, File, Unset


def request(
    archive_id: str,
    *,
    if_none_match: str | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}
    if not isinstance(if_none_match, Unset):
        headers["If-None-Match"] = if_none_match

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/archives/{archive_id}".format(
            archive_id=quote(str(archive_id), safe=""),
        ),
    }
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> File:
    if response.status_code == 200:
        response_200 = File(payload=BytesIO(response.content))

        return response_200

    raise Client.unexpected(response)


def sync(
    archive_id: str,
    *,
    client: Client,
    if_none_match: str | Unset = UNSET,
) -> File:
    """Download an archive: the object as it is stored, gzipped JSON Lines.

    Args:
        archive_id (str):
        if_none_match (str | Unset):
    """
    return _read(
        client.send(
            request(
                archive_id=archive_id,
                if_none_match=if_none_match,
            )
        )
    )


async def asyncio(
    archive_id: str,
    *,
    client: Client,
    if_none_match: str | Unset = UNSET,
) -> File:
    """Download an archive: the object as it is stored, gzipped JSON Lines.

    Args:
        archive_id (str):
        if_none_match (str | Unset):
    """
    return _read(
        await client.send_async(
            request(
                archive_id=archive_id,
                if_none_match=if_none_match,
            )
        )
    )
