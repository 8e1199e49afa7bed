from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.version_config import VersionConfig
    from ..models.version_labels import VersionLabels


T = TypeVar("T", bound="Version")


@_attrs_define
class Version:
    """A config that was pushed. It never changes; its share may be raised."""

    version: int
    etag: str
    config: VersionConfig
    labels: VersionLabels
    """ It goes to agents that have all of these. """
    percent: int
    """ It goes to so many of a hundred of them. """
    gate: None | str
    """ What must hold before the share is raised, such as `failed<1%`. """
    note: None | str
    author: str
    rollback_of: int | None
    """ The version whose config it brought back. """
    created_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        version = self.version

        etag = self.etag

        config = self.config.to_dict()

        labels = self.labels.to_dict()

        percent = self.percent

        gate: None | str
        gate = self.gate

        note: None | str
        note = self.note

        author = self.author

        rollback_of: int | None
        rollback_of = self.rollback_of

        created_at = self.created_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "version": version,
                "etag": etag,
                "config": config,
                "labels": labels,
                "percent": percent,
                "gate": gate,
                "note": note,
                "author": author,
                "rollback_of": rollback_of,
                "created_at": created_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.version_config import VersionConfig  # noqa: PLC0415
        from ..models.version_labels import VersionLabels  # noqa: PLC0415

        d = dict(src_dict)
        version = d.pop("version")

        etag = d.pop("etag")

        config = VersionConfig.from_dict(d.pop("config"))

        labels = VersionLabels.from_dict(d.pop("labels"))

        percent = d.pop("percent")

        def _parse_gate(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        gate = _parse_gate(d.pop("gate"))

        def _parse_note(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        note = _parse_note(d.pop("note"))

        author = d.pop("author")

        def _parse_rollback_of(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        rollback_of = _parse_rollback_of(d.pop("rollback_of"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        version = cls(
            version=version,
            etag=etag,
            config=config,
            labels=labels,
            percent=percent,
            gate=gate,
            note=note,
            author=author,
            rollback_of=rollback_of,
            created_at=created_at,
        )

        version.additional_properties = d
        return version

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
