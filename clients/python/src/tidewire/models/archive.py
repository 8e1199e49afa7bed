from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Archive")


@_attrs_define
class Archive:
    """An archive as it is shown."""

    archive_id: str
    stream: str
    thread_id: None | str
    """ The thread that the stream is; null for other streams. """
    from_seq: int
    to_seq: int
    object_key: str
    """ Where the object is, below its bucket or folder. """
    parquet_key: None | str
    """ Its companion for query engines, if it has one. """
    content_type: str
    """ Of what is in it. """
    content_encoding: str
    event_count: int
    bytes_: int
    """ Of the object, as its checksum. """
    sha256: str
    created_at: datetime.datetime
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        archive_id = self.archive_id

        stream = self.stream

        thread_id: None | str
        thread_id = self.thread_id

        from_seq = self.from_seq

        to_seq = self.to_seq

        object_key = self.object_key

        parquet_key: None | str
        parquet_key = self.parquet_key

        content_type = self.content_type

        content_encoding = self.content_encoding

        event_count = self.event_count

        bytes_ = self.bytes_

        sha256 = self.sha256

        created_at = self.created_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "archive_id": archive_id,
                "stream": stream,
                "thread_id": thread_id,
                "from_seq": from_seq,
                "to_seq": to_seq,
                "object_key": object_key,
                "parquet_key": parquet_key,
                "content_type": content_type,
                "content_encoding": content_encoding,
                "event_count": event_count,
                "bytes": bytes_,
                "sha256": sha256,
                "created_at": created_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        archive_id = d.pop("archive_id")

        stream = d.pop("stream")

        def _parse_thread_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        thread_id = _parse_thread_id(d.pop("thread_id"))

        from_seq = d.pop("from_seq")

        to_seq = d.pop("to_seq")

        object_key = d.pop("object_key")

        def _parse_parquet_key(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        parquet_key = _parse_parquet_key(d.pop("parquet_key"))

        content_type = d.pop("content_type")

        content_encoding = d.pop("content_encoding")

        event_count = d.pop("event_count")

        bytes_ = d.pop("bytes")

        sha256 = d.pop("sha256")

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        archive = cls(
            archive_id=archive_id,
            stream=stream,
            thread_id=thread_id,
            from_seq=from_seq,
            to_seq=to_seq,
            object_key=object_key,
            parquet_key=parquet_key,
            content_type=content_type,
            content_encoding=content_encoding,
            event_count=event_count,
            bytes_=bytes_,
            sha256=sha256,
            created_at=created_at,
        )

        archive.additional_properties = d
        return archive

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
