from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.schedule_status import ScheduleStatus

T = TypeVar("T", bound="Schedule")


@_attrs_define
class Schedule:
    """One occurrence of a trigger that fires by the clock."""

    id: str
    fire_at: datetime.datetime
    status: ScheduleStatus
    """ How far one coming occurrence of a trigger is. """
    attempt_count: int
    last_attempt_at: datetime.datetime | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        fire_at = self.fire_at.isoformat()

        status = self.status.value

        attempt_count = self.attempt_count

        last_attempt_at: None | str
        if isinstance(self.last_attempt_at, datetime.datetime):
            last_attempt_at = self.last_attempt_at.isoformat()
        else:
            last_attempt_at = self.last_attempt_at

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "fire_at": fire_at,
                "status": status,
                "attempt_count": attempt_count,
                "last_attempt_at": last_attempt_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        fire_at = datetime.datetime.fromisoformat(d.pop("fire_at"))

        status = ScheduleStatus(d.pop("status"))

        attempt_count = d.pop("attempt_count")

        def _parse_last_attempt_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                last_attempt_at_type_0 = datetime.datetime.fromisoformat(data)

                return last_attempt_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        last_attempt_at = _parse_last_attempt_at(d.pop("last_attempt_at"))

        schedule = cls(
            id=id,
            fire_at=fire_at,
            status=status,
            attempt_count=attempt_count,
            last_attempt_at=last_attempt_at,
        )

        schedule.additional_properties = d
        return schedule

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
