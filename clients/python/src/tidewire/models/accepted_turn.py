from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="AcceptedTurn")


@_attrs_define
class AcceptedTurn:
    """The answer to a turn that was accepted."""

    thread_id: str
    turn_id: str
    status: str
    """ Always `accepted`: what has become of it since is with the turn. """
    seq: int
    """ Of its `turn.started`. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        thread_id = self.thread_id

        turn_id = self.turn_id

        status = self.status

        seq = self.seq

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "thread_id": thread_id,
                "turn_id": turn_id,
                "status": status,
                "seq": seq,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        thread_id = d.pop("thread_id")

        turn_id = d.pop("turn_id")

        status = d.pop("status")

        seq = d.pop("seq")

        accepted_turn = cls(
            thread_id=thread_id,
            turn_id=turn_id,
            status=status,
            seq=seq,
        )

        accepted_turn.additional_properties = d
        return accepted_turn

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
