from typing import Any

import httpx

from ...client import Client
from ...models.appended import Appended
from ...models.event_in import EventIn
from ...types import UNSET, Unset


def request(
    *,
    body: EventIn | list[EventIn],
    x_tidewire_depth: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""
    headers: dict[str, Any] = {}
    if not isinstance(x_tidewire_depth, Unset):
        headers["x-tidewire-depth"] = str(x_tidewire_depth)

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/events",
    }

    if isinstance(body, EventIn):
        _kwargs["json"] = body.to_dict()
    else:
        _kwargs["json"] = []
        for componentsschemas_append_body_type_1_item_data in body:
            componentsschemas_append_body_type_1_item = componentsschemas_append_body_type_1_item_data.to_dict()
            _kwargs["json"].append(componentsschemas_append_body_type_1_item)

    headers["Content-Type"] = "application/json"
    _kwargs["headers"] = headers
    return _kwargs


def _read(response: httpx.Response) -> Appended | list[Appended]:
    if response.status_code == 200:

        def _parse_response_200(data: object) -> Appended | list[Appended]:
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_append_answer_type_0 = Appended.from_dict(data)

                return componentsschemas_append_answer_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, list):
                raise TypeError()
            componentsschemas_append_answer_type_1 = []
            _componentsschemas_append_answer_type_1 = data
            for componentsschemas_append_answer_type_1_item_data in _componentsschemas_append_answer_type_1:
                componentsschemas_append_answer_type_1_item = Appended.from_dict(
                    componentsschemas_append_answer_type_1_item_data
                )

                componentsschemas_append_answer_type_1.append(componentsschemas_append_answer_type_1_item)

            return componentsschemas_append_answer_type_1

        response_200 = _parse_response_200(response.json())

        return response_200

    if response.status_code == 201:

        def _parse_response_201(data: object) -> Appended | list[Appended]:
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_append_answer_type_0 = Appended.from_dict(data)

                return componentsschemas_append_answer_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, list):
                raise TypeError()
            componentsschemas_append_answer_type_1 = []
            _componentsschemas_append_answer_type_1 = data
            for componentsschemas_append_answer_type_1_item_data in _componentsschemas_append_answer_type_1:
                componentsschemas_append_answer_type_1_item = Appended.from_dict(
                    componentsschemas_append_answer_type_1_item_data
                )

                componentsschemas_append_answer_type_1.append(componentsschemas_append_answer_type_1_item)

            return componentsschemas_append_answer_type_1

        response_201 = _parse_response_201(response.json())

        return response_201

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    body: EventIn | list[EventIn],
    x_tidewire_depth: int | Unset = UNSET,
) -> Appended | list[Appended]:
    """Append one event, or an array of at most 1,000 (8 MiB): whole or not at all.

    Answered once the commit is durable. CloudEvents 1.0 are taken too: structured
    (`application/cloudevents+json`), batched (`application/cloudevents-batch+json`) and binary
    (`ce-*` headers); `source` and `id` become the `dedupe_key`.

    Args:
        x_tidewire_depth (int | Unset):
        body (EventIn | list[EventIn]): One event or several.
    """
    return _read(
        client.send(
            request(
                body=body,
                x_tidewire_depth=x_tidewire_depth,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    body: EventIn | list[EventIn],
    x_tidewire_depth: int | Unset = UNSET,
) -> Appended | list[Appended]:
    """Append one event, or an array of at most 1,000 (8 MiB): whole or not at all.

    Answered once the commit is durable. CloudEvents 1.0 are taken too: structured
    (`application/cloudevents+json`), batched (`application/cloudevents-batch+json`) and binary
    (`ce-*` headers); `source` and `id` become the `dedupe_key`.

    Args:
        x_tidewire_depth (int | Unset):
        body (EventIn | list[EventIn]): One event or several.
    """
    return _read(
        await client.send_async(
            request(
                body=body,
                x_tidewire_depth=x_tidewire_depth,
            )
        )
    )
