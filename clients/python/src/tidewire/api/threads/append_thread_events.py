from typing import Any
from urllib.parse import quote

import httpx

from ...client import Client
from ...models.new_thread_event import NewThreadEvent
from ...models.stored_thread_event import StoredThreadEvent


def request(
    id: str,
    *,
    body: list[NewThreadEvent] | NewThreadEvent,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/threads/{id}/events".format(
            id=quote(str(id), safe=""),
        ),
    }

    if isinstance(body, NewThreadEvent):
        _kwargs["json"] = body.to_dict()
    else:
        _kwargs["json"] = []
        for componentsschemas_thread_append_body_type_1_item_data in body:
            componentsschemas_thread_append_body_type_1_item = (
                componentsschemas_thread_append_body_type_1_item_data.to_dict()
            )
            _kwargs["json"].append(componentsschemas_thread_append_body_type_1_item)

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> list[StoredThreadEvent] | StoredThreadEvent:
    if response.status_code == 201:

        def _parse_response_201(data: object) -> list[StoredThreadEvent] | StoredThreadEvent:
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_thread_append_answer_type_0 = StoredThreadEvent.from_dict(data)

                return componentsschemas_thread_append_answer_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, list):
                raise TypeError()
            componentsschemas_thread_append_answer_type_1 = []
            _componentsschemas_thread_append_answer_type_1 = data
            for (
                componentsschemas_thread_append_answer_type_1_item_data
            ) in _componentsschemas_thread_append_answer_type_1:
                componentsschemas_thread_append_answer_type_1_item = StoredThreadEvent.from_dict(
                    componentsschemas_thread_append_answer_type_1_item_data
                )

                componentsschemas_thread_append_answer_type_1.append(componentsschemas_thread_append_answer_type_1_item)

            return componentsschemas_thread_append_answer_type_1

        response_201 = _parse_response_201(response.json())

        return response_201

    raise Client.unexpected(response)


def sync(
    id: str,
    *,
    client: Client,
    body: list[NewThreadEvent] | NewThreadEvent,
) -> list[StoredThreadEvent] | StoredThreadEvent:
    """Append one event to a thread, or an array of at most 1,000 (8 MiB): whole or not at all.

    For agents; the thread is made on first use, and so is a turn that is named. Answered once the
    commit is durable. An event that says that a turn has ended ends it, and its job; a second one is a
    409. Whatever else comes late is appended, and leaves the turn as it is.

    Args:
        id (str):
        body (list[NewThreadEvent] | NewThreadEvent): One event or several.
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
    body: list[NewThreadEvent] | NewThreadEvent,
) -> list[StoredThreadEvent] | StoredThreadEvent:
    """Append one event to a thread, or an array of at most 1,000 (8 MiB): whole or not at all.

    For agents; the thread is made on first use, and so is a turn that is named. Answered once the
    commit is durable. An event that says that a turn has ended ends it, and its job; a second one is a
    409. Whatever else comes late is appended, and leaves the turn as it is.

    Args:
        id (str):
        body (list[NewThreadEvent] | NewThreadEvent): One event or several.
    """
    return _read(
        await client.send_async(
            request(
                id=id,
                body=body,
            )
        )
    )
