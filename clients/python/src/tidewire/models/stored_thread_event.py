from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.turn_status import TurnStatus

T = TypeVar("T", bound="StoredThreadEvent")


@_attrs_define
class StoredThreadEvent:
    """The answer to one event."""

    event_id: str
    seq: int
    duplicated: bool
    """ Whether the `event_id` was seen before in the thread: `seq` is then the first one's. """
    turn_status: None | TurnStatus
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        event_id = self.event_id

        seq = self.seq

        duplicated = self.duplicated

        turn_status: None | str
        if isinstance(self.turn_status, TurnStatus):
            turn_status = self.turn_status.value
        else:
            turn_status = self.turn_status

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "event_id": event_id,
                "seq": seq,
                "duplicated": duplicated,
                "turn_status": turn_status,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        event_id = d.pop("event_id")

        seq = d.pop("seq")

        duplicated = d.pop("duplicated")

        def _parse_turn_status(data: object) -> None | TurnStatus:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                turn_status_type_0 = TurnStatus(data)

                return turn_status_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | TurnStatus, data)

        turn_status = _parse_turn_status(d.pop("turn_status"))

        stored_thread_event = cls(
            event_id=event_id,
            seq=seq,
            duplicated=duplicated,
            turn_status=turn_status,
        )

        stored_thread_event.additional_properties = d
        return stored_thread_event

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
