from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.health_report_checks import HealthReportChecks
    from ..models.health_report_info import HealthReportInfo


T = TypeVar("T", bound="HealthReport")


@_attrs_define
class HealthReport:
    """Each dependency by name: `ok`, or what is wrong with it."""

    status: str
    """ `ok`, `failing`, or for `/ready` also `not ready`. """
    checks: HealthReportChecks
    info: HealthReportInfo | Unset = UNSET
    """ What is neither right nor wrong: the store's engine, for one. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        status = self.status

        checks = self.checks.to_dict()

        info: dict[str, Any] | Unset = UNSET
        if not isinstance(self.info, Unset):
            info = self.info.to_dict()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "status": status,
                "checks": checks,
            }
        )
        if info is not UNSET:
            field_dict["info"] = info

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.health_report_checks import HealthReportChecks  # noqa: PLC0415
        from ..models.health_report_info import HealthReportInfo  # noqa: PLC0415

        d = dict(src_dict)
        status = d.pop("status")

        checks = HealthReportChecks.from_dict(d.pop("checks"))

        _info = d.pop("info", UNSET)
        info: HealthReportInfo | Unset
        if isinstance(_info, Unset):
            info = UNSET
        else:
            info = HealthReportInfo.from_dict(_info)

        health_report = cls(
            status=status,
            checks=checks,
            info=info,
        )

        health_report.additional_properties = d
        return health_report

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
