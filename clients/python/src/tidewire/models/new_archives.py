from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.archive_format import ArchiveFormat
from ..types import UNSET, Unset

T = TypeVar("T", bound="NewArchives")


@_attrs_define
class NewArchives:
    """What is to be archived, of one tenant. The payload of a job of type `archive.run` too."""

    stream: None | str | Unset = UNSET
    """ The stream. """
    thread_id: None | str | Unset = UNSET
    """ Or the thread. """
    all_: bool | Unset = UNSET
    """ Or every stream, threads included. """
    from_seq: int | None | Unset = UNSET
    """ From where on; must not leave a hole behind what is archived already. Without it: from there. """
    to_seq: int | None | Unset = UNSET
    """ Up to where; the stream's end without it. """
    older_than: None | str | Unset = UNSET
    """ Only what was stored at least so long ago, such as `30d`. """
    trim: bool | Unset = UNSET
    """ Whether what is archived then leaves the database. """
    format_: ArchiveFormat | Unset = UNSET
    gather: bool | Unset = UNSET
    """ Whether to leave fewer than 10,000 events of a stream for a later run, unless the oldest of them
    has been old enough for a day: no crowd of small objects. """

    def to_dict(self) -> dict[str, Any]:
        stream: None | str | Unset
        if isinstance(self.stream, Unset):
            stream = UNSET
        else:
            stream = self.stream

        thread_id: None | str | Unset
        if isinstance(self.thread_id, Unset):
            thread_id = UNSET
        else:
            thread_id = self.thread_id

        all_ = self.all_

        from_seq: int | None | Unset
        if isinstance(self.from_seq, Unset):
            from_seq = UNSET
        else:
            from_seq = self.from_seq

        to_seq: int | None | Unset
        if isinstance(self.to_seq, Unset):
            to_seq = UNSET
        else:
            to_seq = self.to_seq

        older_than: None | str | Unset
        if isinstance(self.older_than, Unset):
            older_than = UNSET
        else:
            older_than = self.older_than

        trim = self.trim

        format_: str | Unset = UNSET
        if not isinstance(self.format_, Unset):
            format_ = self.format_.value

        gather = self.gather

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if stream is not UNSET:
            field_dict["stream"] = stream
        if thread_id is not UNSET:
            field_dict["thread_id"] = thread_id
        if all_ is not UNSET:
            field_dict["all"] = all_
        if from_seq is not UNSET:
            field_dict["from_seq"] = from_seq
        if to_seq is not UNSET:
            field_dict["to_seq"] = to_seq
        if older_than is not UNSET:
            field_dict["older_than"] = older_than
        if trim is not UNSET:
            field_dict["trim"] = trim
        if format_ is not UNSET:
            field_dict["format"] = format_
        if gather is not UNSET:
            field_dict["gather"] = gather

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_stream(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        stream = _parse_stream(d.pop("stream", UNSET))

        def _parse_thread_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        thread_id = _parse_thread_id(d.pop("thread_id", UNSET))

        all_ = d.pop("all", UNSET)

        def _parse_from_seq(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        from_seq = _parse_from_seq(d.pop("from_seq", UNSET))

        def _parse_to_seq(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        to_seq = _parse_to_seq(d.pop("to_seq", UNSET))

        def _parse_older_than(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        older_than = _parse_older_than(d.pop("older_than", UNSET))

        trim = d.pop("trim", UNSET)

        _format_ = d.pop("format", UNSET)
        format_: ArchiveFormat | Unset
        if isinstance(_format_, Unset):
            format_ = UNSET
        else:
            format_ = ArchiveFormat(_format_)

        gather = d.pop("gather", UNSET)

        new_archives = cls(
            stream=stream,
            thread_id=thread_id,
            all_=all_,
            from_seq=from_seq,
            to_seq=to_seq,
            older_than=older_than,
            trim=trim,
            format_=format_,
            gather=gather,
        )

        return new_archives
