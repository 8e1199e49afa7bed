from typing import Any

import httpx

from ...client import Client
from ...models.execution_list import ExecutionList
from ...models.execution_source import ExecutionSource
from ...models.execution_status import ExecutionStatus
from ...models.retention_status import RetentionStatus
from ...types import UNSET, Unset


def request(
    *,
    trigger_id: str | Unset = UNSET,
    execution_status: ExecutionStatus | Unset = UNSET,
    source: ExecutionSource | Unset = UNSET,
    retention_status: RetentionStatus | Unset = UNSET,
    is_test_run: bool | Unset = UNSET,
    page: int | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> dict[str, Any]:
    """The request of `sync` and `asyncio`, as httpx takes it."""

    params: dict[str, Any] = {}

    params["trigger_id"] = trigger_id

    json_execution_status: str | Unset = UNSET
    if not isinstance(execution_status, Unset):
        json_execution_status = execution_status.value

    params["execution_status"] = json_execution_status

    json_source: str | Unset = UNSET
    if not isinstance(source, Unset):
        json_source = source.value

    params["source"] = json_source

    json_retention_status: str | Unset = UNSET
    if not isinstance(retention_status, Unset):
        json_retention_status = retention_status.value

    params["retention_status"] = json_retention_status

    params["is_test_run"] = is_test_run

    params["page"] = page

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/executions",
        "params": params,
    }
    return _kwargs


def _read(response: httpx.Response) -> ExecutionList:
    if response.status_code == 200:
        response_200 = ExecutionList.from_dict(response.json())

        return response_200

    raise Client.unexpected(response)


def sync(
    *,
    client: Client,
    trigger_id: str | Unset = UNSET,
    execution_status: ExecutionStatus | Unset = UNSET,
    source: ExecutionSource | Unset = UNSET,
    retention_status: RetentionStatus | Unset = UNSET,
    is_test_run: bool | Unset = UNSET,
    page: int | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> ExecutionList:
    """List executions, newest first.

    Of the body of an endpoint's answer each attempt shows the beginning; one execution, asked for by
    its id, shows all that is kept.

    Args:
        trigger_id (str | Unset):
        execution_status (ExecutionStatus | Unset):
        source (ExecutionSource | Unset): What set an execution off.
        retention_status (RetentionStatus | Unset): Where an execution is kept.
        is_test_run (bool | Unset):
        page (int | Unset):
        limit (int | Unset):
    """
    return _read(
        client.send(
            request(
                trigger_id=trigger_id,
                execution_status=execution_status,
                source=source,
                retention_status=retention_status,
                is_test_run=is_test_run,
                page=page,
                limit=limit,
            )
        )
    )


async def asyncio(
    *,
    client: Client,
    trigger_id: str | Unset = UNSET,
    execution_status: ExecutionStatus | Unset = UNSET,
    source: ExecutionSource | Unset = UNSET,
    retention_status: RetentionStatus | Unset = UNSET,
    is_test_run: bool | Unset = UNSET,
    page: int | Unset = UNSET,
    limit: int | Unset = UNSET,
) -> ExecutionList:
    """List executions, newest first.

    Of the body of an endpoint's answer each attempt shows the beginning; one execution, asked for by
    its id, shows all that is kept.

    Args:
        trigger_id (str | Unset):
        execution_status (ExecutionStatus | Unset):
        source (ExecutionSource | Unset): What set an execution off.
        retention_status (RetentionStatus | Unset): Where an execution is kept.
        is_test_run (bool | Unset):
        page (int | Unset):
        limit (int | Unset):
    """
    return _read(
        await client.send_async(
            request(
                trigger_id=trigger_id,
                execution_status=execution_status,
                source=source,
                retention_status=retention_status,
                is_test_run=is_test_run,
                page=page,
                limit=limit,
            )
        )
    )
