from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="SyncReport")


@_attrs_define
class SyncReport:
    """What a sync has done."""

    site_id: str
    resource: str
    pages: int
    fetched: int
    """ Records that were read. """
    inserted: int
    """ Events that were stored. """
    duplicates: int
    """ Events that were stored before. """
    total: int | None
    """ How many records there are, if the source says so. """
    duration_ms: int
    skipped: int | Unset = UNSET
    """ Records that cannot become events … """
    skipped_because: None | str | Unset = UNSET
    """ … and why not the first of them. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        site_id = self.site_id

        resource = self.resource

        pages = self.pages

        fetched = self.fetched

        inserted = self.inserted

        duplicates = self.duplicates

        total: int | None
        total = self.total

        duration_ms = self.duration_ms

        skipped = self.skipped

        skipped_because: None | str | Unset
        if isinstance(self.skipped_because, Unset):
            skipped_because = UNSET
        else:
            skipped_because = self.skipped_because

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "site_id": site_id,
                "resource": resource,
                "pages": pages,
                "fetched": fetched,
                "inserted": inserted,
                "duplicates": duplicates,
                "total": total,
                "duration_ms": duration_ms,
            }
        )
        if skipped is not UNSET:
            field_dict["skipped"] = skipped
        if skipped_because is not UNSET:
            field_dict["skipped_because"] = skipped_because

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        site_id = d.pop("site_id")

        resource = d.pop("resource")

        pages = d.pop("pages")

        fetched = d.pop("fetched")

        inserted = d.pop("inserted")

        duplicates = d.pop("duplicates")

        def _parse_total(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        total = _parse_total(d.pop("total"))

        duration_ms = d.pop("duration_ms")

        skipped = d.pop("skipped", UNSET)

        def _parse_skipped_because(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        skipped_because = _parse_skipped_because(d.pop("skipped_because", UNSET))

        sync_report = cls(
            site_id=site_id,
            resource=resource,
            pages=pages,
            fetched=fetched,
            inserted=inserted,
            duplicates=duplicates,
            total=total,
            duration_ms=duration_ms,
            skipped=skipped,
            skipped_because=skipped_because,
        )

        sync_report.additional_properties = d
        return sync_report

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
