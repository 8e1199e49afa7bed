from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="TriggerSummary")


@_attrs_define
class TriggerSummary:
    """What one trigger's firings did."""

    pending: int
    success: int
    failure: int
    trigger_id: None | str
    """ Null stands for the tests of triggers that are not stored. """
    name: None | str
    """ Null if the trigger is not stored, or not any more. """
    total: int
    test_runs: int
    """ How many of these are test runs. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        pending = self.pending

        success = self.success

        failure = self.failure

        trigger_id: None | str
        trigger_id = self.trigger_id

        name: None | str
        name = self.name

        total = self.total

        test_runs = self.test_runs

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "pending": pending,
                "success": success,
                "failure": failure,
                "trigger_id": trigger_id,
                "name": name,
                "total": total,
                "test_runs": test_runs,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        pending = d.pop("pending")

        success = d.pop("success")

        failure = d.pop("failure")

        def _parse_trigger_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        trigger_id = _parse_trigger_id(d.pop("trigger_id"))

        def _parse_name(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        name = _parse_name(d.pop("name"))

        total = d.pop("total")

        test_runs = d.pop("test_runs")

        trigger_summary = cls(
            pending=pending,
            success=success,
            failure=failure,
            trigger_id=trigger_id,
            name=name,
            total=total,
            test_runs=test_runs,
        )

        trigger_summary.additional_properties = d
        return trigger_summary

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
