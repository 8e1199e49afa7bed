from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.level import Level
from ..types import UNSET, Unset

T = TypeVar("T", bound="NewThreadEvent")


@_attrs_define
class NewThreadEvent:
    """An event as an agent sends it: only `type` is required."""

    type_: str
    event_id: None | str | Unset = UNSET
    """ Of events with the same id in a thread only the first is stored. Made here if it is missing. """
    turn_id: None | str | Unset = UNSET
    """ The turn that it belongs to, if any; made on first use. """
    ts: datetime.datetime | None | Unset = UNSET
    level: Level | Unset = UNSET
    payload: Any | Unset = UNSET
    """ Any JSON, at most 256 KiB; `{}` if it is missing. """
    content_type: None | str | Unset = UNSET
    """ What the payload is, if its type does not say. """
    source: None | str | Unset = UNSET
    """ Who says so. """
    trace: Any | Unset = UNSET
    """ Any JSON, at most 4 KiB. """
    tags: Any | Unset = UNSET
    """ Any JSON, at most 4 KiB. """
    spec_version: None | str | Unset = UNSET
    """ `agent-events/1.0`, if it is there. """
    thread_id: None | str | Unset = UNSET
    """ The thread of the path, if it is there. """

    def to_dict(self) -> dict[str, Any]:
        type_ = self.type_

        event_id: None | str | Unset
        if isinstance(self.event_id, Unset):
            event_id = UNSET
        else:
            event_id = self.event_id

        turn_id: None | str | Unset
        if isinstance(self.turn_id, Unset):
            turn_id = UNSET
        else:
            turn_id = self.turn_id

        ts: None | str | Unset
        if isinstance(self.ts, Unset):
            ts = UNSET
        elif isinstance(self.ts, datetime.datetime):
            ts = self.ts.isoformat()
        else:
            ts = self.ts

        level: str | Unset = UNSET
        if not isinstance(self.level, Unset):
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

        spec_version: None | str | Unset
        if isinstance(self.spec_version, Unset):
            spec_version = UNSET
        else:
            spec_version = self.spec_version

        thread_id: None | str | Unset
        if isinstance(self.thread_id, Unset):
            thread_id = UNSET
        else:
            thread_id = self.thread_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "type": type_,
            }
        )
        if event_id is not UNSET:
            field_dict["event_id"] = event_id
        if turn_id is not UNSET:
            field_dict["turn_id"] = turn_id
        if ts is not UNSET:
            field_dict["ts"] = ts
        if level is not UNSET:
            field_dict["level"] = level
        if payload is not UNSET:
            field_dict["payload"] = payload
        if content_type is not UNSET:
            field_dict["content_type"] = content_type
        if source is not UNSET:
            field_dict["source"] = source
        if trace is not UNSET:
            field_dict["trace"] = trace
        if tags is not UNSET:
            field_dict["tags"] = tags
        if spec_version is not UNSET:
            field_dict["spec_version"] = spec_version
        if thread_id is not UNSET:
            field_dict["thread_id"] = thread_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        type_ = d.pop("type")

        def _parse_event_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        event_id = _parse_event_id(d.pop("event_id", UNSET))

        def _parse_turn_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        turn_id = _parse_turn_id(d.pop("turn_id", UNSET))

        def _parse_ts(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                ts_type_0 = datetime.datetime.fromisoformat(data)

                return ts_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        ts = _parse_ts(d.pop("ts", UNSET))

        _level = d.pop("level", UNSET)
        level: Level | Unset
        if isinstance(_level, Unset):
            level = UNSET
        else:
            level = Level(_level)

        payload = d.pop("payload", UNSET)

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

        def _parse_spec_version(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        spec_version = _parse_spec_version(d.pop("spec_version", UNSET))

        def _parse_thread_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        thread_id = _parse_thread_id(d.pop("thread_id", UNSET))

        new_thread_event = cls(
            type_=type_,
            event_id=event_id,
            turn_id=turn_id,
            ts=ts,
            level=level,
            payload=payload,
            content_type=content_type,
            source=source,
            trace=trace,
            tags=tags,
            spec_version=spec_version,
            thread_id=thread_id,
        )

        return new_thread_event
