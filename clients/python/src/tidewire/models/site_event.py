from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="SiteEvent")


@_attrs_define
class SiteEvent:
    """An event of a user, with what it says of them in front."""

    id: str
    stream: str
    seq: int
    type_: str
    subject: None | str
    payload: Any
    dedupe_key: None | str
    source: None | str
    occurred_at: datetime.datetime
    created_at: datetime.datetime
    user_id: None | str
    """ Its `subject`. """
    utm_source: None | str
    """ From its payload. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        stream = self.stream

        seq = self.seq

        type_ = self.type_

        subject: None | str
        subject = self.subject

        payload = self.payload

        dedupe_key: None | str
        dedupe_key = self.dedupe_key

        source: None | str
        source = self.source

        occurred_at = self.occurred_at.isoformat()

        created_at = self.created_at.isoformat()

        user_id: None | str
        user_id = self.user_id

        utm_source: None | str
        utm_source = self.utm_source

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "stream": stream,
                "seq": seq,
                "type": type_,
                "subject": subject,
                "payload": payload,
                "dedupe_key": dedupe_key,
                "source": source,
                "occurred_at": occurred_at,
                "created_at": created_at,
                "user_id": user_id,
                "utm_source": utm_source,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        stream = d.pop("stream")

        seq = d.pop("seq")

        type_ = d.pop("type")

        def _parse_subject(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        subject = _parse_subject(d.pop("subject"))

        payload = d.pop("payload")

        def _parse_dedupe_key(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        dedupe_key = _parse_dedupe_key(d.pop("dedupe_key"))

        def _parse_source(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        source = _parse_source(d.pop("source"))

        occurred_at = datetime.datetime.fromisoformat(d.pop("occurred_at"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        def _parse_user_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        user_id = _parse_user_id(d.pop("user_id"))

        def _parse_utm_source(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        utm_source = _parse_utm_source(d.pop("utm_source"))

        site_event = cls(
            id=id,
            stream=stream,
            seq=seq,
            type_=type_,
            subject=subject,
            payload=payload,
            dedupe_key=dedupe_key,
            source=source,
            occurred_at=occurred_at,
            created_at=created_at,
            user_id=user_id,
            utm_source=utm_source,
        )

        site_event.additional_properties = d
        return site_event

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
