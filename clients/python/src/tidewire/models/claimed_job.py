from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.job_status import JobStatus

T = TypeVar("T", bound="ClaimedJob")


@_attrs_define
class ClaimedJob:
    """A job in the hands of the worker that claimed it."""

    id: str
    type_: str
    queue: str
    status: JobStatus
    payload: Any
    priority: int
    """ The lower one runs first. """
    run_at: datetime.datetime
    attempts: int
    """ Attempts that were begun and not given back. """
    max_attempts: int
    """ Attempts after which the job has failed; a retry by hand adds as many as it had at first. """
    timeout_seconds: int | None
    """ How long an attempt may run. """
    idempotency_key: None | str
    locked_at: datetime.datetime | None
    locked_by: None | str
    last_error: None | str
    event_id: None | str
    created_at: datetime.datetime
    updated_at: datetime.datetime
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    output: Any
    lease_token: str
    """ What proves the claim: show it with everything said about the job. """
    lease_expires_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        type_ = self.type_

        queue = self.queue

        status = self.status.value

        payload = self.payload

        priority = self.priority

        run_at = self.run_at.isoformat()

        attempts = self.attempts

        max_attempts = self.max_attempts

        timeout_seconds: int | None
        timeout_seconds = self.timeout_seconds

        idempotency_key: None | str
        idempotency_key = self.idempotency_key

        locked_at: None | str
        if isinstance(self.locked_at, datetime.datetime):
            locked_at = self.locked_at.isoformat()
        else:
            locked_at = self.locked_at

        locked_by: None | str
        locked_by = self.locked_by

        last_error: None | str
        last_error = self.last_error

        event_id: None | str
        event_id = self.event_id

        created_at = self.created_at.isoformat()

        updated_at = self.updated_at.isoformat()

        started_at: None | str
        if isinstance(self.started_at, datetime.datetime):
            started_at = self.started_at.isoformat()
        else:
            started_at = self.started_at

        finished_at: None | str
        if isinstance(self.finished_at, datetime.datetime):
            finished_at = self.finished_at.isoformat()
        else:
            finished_at = self.finished_at

        output = self.output

        lease_token = self.lease_token

        lease_expires_at = self.lease_expires_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "type": type_,
                "queue": queue,
                "status": status,
                "payload": payload,
                "priority": priority,
                "run_at": run_at,
                "attempts": attempts,
                "max_attempts": max_attempts,
                "timeout_seconds": timeout_seconds,
                "idempotency_key": idempotency_key,
                "locked_at": locked_at,
                "locked_by": locked_by,
                "last_error": last_error,
                "event_id": event_id,
                "created_at": created_at,
                "updated_at": updated_at,
                "started_at": started_at,
                "finished_at": finished_at,
                "output": output,
                "lease_token": lease_token,
                "lease_expires_at": lease_expires_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        type_ = d.pop("type")

        queue = d.pop("queue")

        status = JobStatus(d.pop("status"))

        payload = d.pop("payload")

        priority = d.pop("priority")

        run_at = datetime.datetime.fromisoformat(d.pop("run_at"))

        attempts = d.pop("attempts")

        max_attempts = d.pop("max_attempts")

        def _parse_timeout_seconds(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        timeout_seconds = _parse_timeout_seconds(d.pop("timeout_seconds"))

        def _parse_idempotency_key(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        idempotency_key = _parse_idempotency_key(d.pop("idempotency_key"))

        def _parse_locked_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                locked_at_type_0 = datetime.datetime.fromisoformat(data)

                return locked_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        locked_at = _parse_locked_at(d.pop("locked_at"))

        def _parse_locked_by(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        locked_by = _parse_locked_by(d.pop("locked_by"))

        def _parse_last_error(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        last_error = _parse_last_error(d.pop("last_error"))

        def _parse_event_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        event_id = _parse_event_id(d.pop("event_id"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        updated_at = datetime.datetime.fromisoformat(d.pop("updated_at"))

        def _parse_started_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                started_at_type_0 = datetime.datetime.fromisoformat(data)

                return started_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        started_at = _parse_started_at(d.pop("started_at"))

        def _parse_finished_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                finished_at_type_0 = datetime.datetime.fromisoformat(data)

                return finished_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        finished_at = _parse_finished_at(d.pop("finished_at"))

        output = d.pop("output")

        lease_token = d.pop("lease_token")

        lease_expires_at = datetime.datetime.fromisoformat(d.pop("lease_expires_at"))

        claimed_job = cls(
            id=id,
            type_=type_,
            queue=queue,
            status=status,
            payload=payload,
            priority=priority,
            run_at=run_at,
            attempts=attempts,
            max_attempts=max_attempts,
            timeout_seconds=timeout_seconds,
            idempotency_key=idempotency_key,
            locked_at=locked_at,
            locked_by=locked_by,
            last_error=last_error,
            event_id=event_id,
            created_at=created_at,
            updated_at=updated_at,
            started_at=started_at,
            finished_at=finished_at,
            output=output,
            lease_token=lease_token,
            lease_expires_at=lease_expires_at,
        )

        claimed_job.additional_properties = d
        return claimed_job

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
