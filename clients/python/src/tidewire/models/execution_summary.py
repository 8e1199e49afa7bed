from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.execution_counts import ExecutionCounts
    from ..models.trigger_summary import TriggerSummary


T = TypeVar("T", bound="ExecutionSummary")


@_attrs_define
class ExecutionSummary:
    """The executions of the last hours, active and archived, by trigger and status. The triggers' counts
    add up to the whole, unless more than 500 have fired.

    """

    hours: int
    from_: datetime.datetime
    total: int
    by_status: ExecutionCounts
    """ Executions by how they stand. """
    test_runs: int
    """ How many of these are test runs. """
    triggers: list[TriggerSummary]
    """ The busiest first, at most 500. """
    triggers_not_listed: int
    """ Triggers that have fired and are not listed, though they are counted. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        hours = self.hours

        from_ = self.from_.isoformat()

        total = self.total

        by_status = self.by_status.to_dict()

        test_runs = self.test_runs

        triggers = []
        for triggers_item_data in self.triggers:
            triggers_item = triggers_item_data.to_dict()
            triggers.append(triggers_item)

        triggers_not_listed = self.triggers_not_listed

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "hours": hours,
                "from": from_,
                "total": total,
                "by_status": by_status,
                "test_runs": test_runs,
                "triggers": triggers,
                "triggers_not_listed": triggers_not_listed,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.execution_counts import ExecutionCounts  # noqa: PLC0415
        from ..models.trigger_summary import TriggerSummary  # noqa: PLC0415

        d = dict(src_dict)
        hours = d.pop("hours")

        from_ = datetime.datetime.fromisoformat(d.pop("from"))

        total = d.pop("total")

        by_status = ExecutionCounts.from_dict(d.pop("by_status"))

        test_runs = d.pop("test_runs")

        triggers = []
        _triggers = d.pop("triggers")
        for triggers_item_data in _triggers:
            triggers_item = TriggerSummary.from_dict(triggers_item_data)

            triggers.append(triggers_item)

        triggers_not_listed = d.pop("triggers_not_listed")

        execution_summary = cls(
            hours=hours,
            from_=from_,
            total=total,
            by_status=by_status,
            test_runs=test_runs,
            triggers=triggers,
            triggers_not_listed=triggers_not_listed,
        )

        execution_summary.additional_properties = d
        return execution_summary

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
