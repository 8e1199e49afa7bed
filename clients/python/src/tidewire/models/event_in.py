from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="EventIn")


@_attrs_define
class EventIn:
    """An event as a client sends it."""

    type_: str
    """ 1–255 characters of `[A-Za-z0-9._:-]`. """
    payload: Any | Unset = UNSET
    """ Any JSON, at most 256 KiB; `{}` if it is missing. """
    payload_json: Any | Unset = UNSET
    """ Another name of `payload`. """
    stream: None | str | Unset = UNSET
    """ 1–128 characters of `[A-Za-z0-9._:-]`; `default` if it is missing. """
    subject: None | str | Unset = UNSET
    """ Whom or what the event is about, for example a user's id. """
    dedupe_key: None | str | Unset = UNSET
    """ Of events with the same key in a tenant only the first is stored. """
    occurred_at: datetime.datetime | None | Unset = UNSET
    source: None | str | Unset = UNSET
    """ Who says so. """
    expected_seq: int | None | Unset = UNSET
    """ The stream's last `seq`, or the event is refused with a 409. Only for a single event. """

    def to_dict(self) -> dict[str, Any]:
        type_ = self.type_

        payload = self.payload

        payload_json = self.payload_json

        stream: None | str | Unset
        if isinstance(self.stream, Unset):
            stream = UNSET
        else:
            stream = self.stream

        subject: None | str | Unset
        if isinstance(self.subject, Unset):
            subject = UNSET
        else:
            subject = self.subject

        dedupe_key: None | str | Unset
        if isinstance(self.dedupe_key, Unset):
            dedupe_key = UNSET
        else:
            dedupe_key = self.dedupe_key

        occurred_at: None | str | Unset
        if isinstance(self.occurred_at, Unset):
            occurred_at = UNSET
        elif isinstance(self.occurred_at, datetime.datetime):
            occurred_at = self.occurred_at.isoformat()
        else:
            occurred_at = self.occurred_at

        source: None | str | Unset
        if isinstance(self.source, Unset):
            source = UNSET
        else:
            source = self.source

        expected_seq: int | None | Unset
        if isinstance(self.expected_seq, Unset):
            expected_seq = UNSET
        else:
            expected_seq = self.expected_seq

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "type": type_,
            }
        )
        if payload is not UNSET:
            field_dict["payload"] = payload
        if payload_json is not UNSET:
            field_dict["payload_json"] = payload_json
        if stream is not UNSET:
            field_dict["stream"] = stream
        if subject is not UNSET:
            field_dict["subject"] = subject
        if dedupe_key is not UNSET:
            field_dict["dedupe_key"] = dedupe_key
        if occurred_at is not UNSET:
            field_dict["occurred_at"] = occurred_at
        if source is not UNSET:
            field_dict["source"] = source
        if expected_seq is not UNSET:
            field_dict["expected_seq"] = expected_seq

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        type_ = d.pop("type")

        payload = d.pop("payload", UNSET)

        payload_json = d.pop("payload_json", UNSET)

        def _parse_stream(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        stream = _parse_stream(d.pop("stream", UNSET))

        def _parse_subject(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        subject = _parse_subject(d.pop("subject", UNSET))

        def _parse_dedupe_key(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        dedupe_key = _parse_dedupe_key(d.pop("dedupe_key", UNSET))

        def _parse_occurred_at(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                occurred_at_type_0 = datetime.datetime.fromisoformat(data)

                return occurred_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        occurred_at = _parse_occurred_at(d.pop("occurred_at", UNSET))

        def _parse_source(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        source = _parse_source(d.pop("source", UNSET))

        def _parse_expected_seq(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        expected_seq = _parse_expected_seq(d.pop("expected_seq", UNSET))

        event_in = cls(
            type_=type_,
            payload=payload,
            payload_json=payload_json,
            stream=stream,
            subject=subject,
            dedupe_key=dedupe_key,
            occurred_at=occurred_at,
            source=source,
            expected_seq=expected_seq,
        )

        return event_in
