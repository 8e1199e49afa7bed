from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.execution_source import ExecutionSource
from ..models.execution_status import ExecutionStatus
from ..models.retention_status import RetentionStatus
from ..models.trigger_type import TriggerType

if TYPE_CHECKING:
    from ..models.execution_attempt import ExecutionAttempt


T = TypeVar("T", bound="Execution")


@_attrs_define
class Execution:
    """What one firing did."""

    id: str
    trigger_id: None | str
    """ Null for a test of a trigger that is not stored. It stays after the trigger is deleted. """
    trigger_type: TriggerType
    """ What makes a trigger fire. """
    fired_at: datetime.datetime
    payload: Any
    source: ExecutionSource
    """ What set an execution off. """
    execution_status: ExecutionStatus
    error_message: None | str
    retention_status: RetentionStatus
    """ Where an execution is kept. """
    is_test_run: bool
    job_id: None | str
    attempts: list[ExecutionAttempt]
    """ Oldest first. """
    created_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        trigger_id: None | str
        trigger_id = self.trigger_id

        trigger_type = self.trigger_type.value

        fired_at = self.fired_at.isoformat()

        payload = self.payload

        source = self.source.value

        execution_status = self.execution_status.value

        error_message: None | str
        error_message = self.error_message

        retention_status = self.retention_status.value

        is_test_run = self.is_test_run

        job_id: None | str
        job_id = self.job_id

        attempts = []
        for attempts_item_data in self.attempts:
            attempts_item = attempts_item_data.to_dict()
            attempts.append(attempts_item)

        created_at = self.created_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "trigger_id": trigger_id,
                "trigger_type": trigger_type,
                "fired_at": fired_at,
                "payload": payload,
                "source": source,
                "execution_status": execution_status,
                "error_message": error_message,
                "retention_status": retention_status,
                "is_test_run": is_test_run,
                "job_id": job_id,
                "attempts": attempts,
                "created_at": created_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.execution_attempt import ExecutionAttempt  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        def _parse_trigger_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        trigger_id = _parse_trigger_id(d.pop("trigger_id"))

        trigger_type = TriggerType(d.pop("trigger_type"))

        fired_at = datetime.datetime.fromisoformat(d.pop("fired_at"))

        payload = d.pop("payload")

        source = ExecutionSource(d.pop("source"))

        execution_status = ExecutionStatus(d.pop("execution_status"))

        def _parse_error_message(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        error_message = _parse_error_message(d.pop("error_message"))

        retention_status = RetentionStatus(d.pop("retention_status"))

        is_test_run = d.pop("is_test_run")

        def _parse_job_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        job_id = _parse_job_id(d.pop("job_id"))

        attempts = []
        _attempts = d.pop("attempts")
        for attempts_item_data in _attempts:
            attempts_item = ExecutionAttempt.from_dict(attempts_item_data)

            attempts.append(attempts_item)

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        execution = cls(
            id=id,
            trigger_id=trigger_id,
            trigger_type=trigger_type,
            fired_at=fired_at,
            payload=payload,
            source=source,
            execution_status=execution_status,
            error_message=error_message,
            retention_status=retention_status,
            is_test_run=is_test_run,
            job_id=job_id,
            attempts=attempts,
            created_at=created_at,
        )

        execution.additional_properties = d
        return execution

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
