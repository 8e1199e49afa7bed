from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.level import Level
from ..types import UNSET, Unset

T = TypeVar("T", bound="ThreadEvent")


@_attrs_define
class ThreadEvent:
    """An event of a thread."""

    spec_version: str
    event_id: str
    thread_id: str
    turn_id: None | str
    seq: int
    ts: datetime.datetime
    type_: str
    level: Level
    payload: Any
    content_type: None | str | Unset = UNSET
    source: None | str | Unset = UNSET
    trace: Any | Unset = UNSET
    tags: Any | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        spec_version = self.spec_version

        event_id = self.event_id

        thread_id = self.thread_id

        turn_id: None | str
        turn_id = self.turn_id

        seq = self.seq

        ts = self.ts.isoformat()

        type_ = self.type_

        level = self.level.value

        payload = self.payload

        content_type: None | str | Unset
        if isinstance(self.content_type, Unset):
            content_type = UNSET
        else:
            content_type = self.content_type

        source: None | str | Unset
        if isinstance(self.source, Unset):
            source = UNSET
        else:
            source = self.source

        trace = self.trace

        tags = self.tags

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "spec_version": spec_version,
                "event_id": event_id,
                "thread_id": thread_id,
                "turn_id": turn_id,
                "seq": seq,
                "ts": ts,
                "type": type_,
                "level": level,
                "payload": payload,
            }
        )
        if content_type is not UNSET:
            field_dict["content_type"] = content_type
        if source is not UNSET:
            field_dict["source"] = source
        if trace is not UNSET:
            field_dict["trace"] = trace
        if tags is not UNSET:
            field_dict["tags"] = tags

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        spec_version = d.pop("spec_version")

        event_id = d.pop("event_id")

        thread_id = d.pop("thread_id")

        def _parse_turn_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        turn_id = _parse_turn_id(d.pop("turn_id"))

        seq = d.pop("seq")

        ts = datetime.datetime.fromisoformat(d.pop("ts"))

        type_ = d.pop("type")

        level = Level(d.pop("level"))

        payload = d.pop("payload")

        def _parse_content_type(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        content_type = _parse_content_type(d.pop("content_type", UNSET))

        def _parse_source(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        source = _parse_source(d.pop("source", UNSET))

        trace = d.pop("trace", UNSET)

        tags = d.pop("tags", UNSET)

        thread_event = cls(
            spec_version=spec_version,
            event_id=event_id,
            thread_id=thread_id,
            turn_id=turn_id,
            seq=seq,
            ts=ts,
            type_=type_,
            level=level,
            payload=payload,
            content_type=content_type,
            source=source,
            trace=trace,
            tags=tags,
        )

        thread_event.additional_properties = d
        return thread_event

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
