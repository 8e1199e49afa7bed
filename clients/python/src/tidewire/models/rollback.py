from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.rollback_labels_type_0 import RollbackLabelsType0


T = TypeVar("T", bound="Rollback")


@_attrs_define
class Rollback:
    version: int
    """ The version whose config is to be had again. """
    labels: None | RollbackLabelsType0 | Unset = UNSET
    """ For agents with these labels; for those that the version was for if they are missing. """
    note: None | str | Unset = UNSET
    author: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.rollback_labels_type_0 import RollbackLabelsType0  # noqa: PLC0415

        version = self.version

        labels: dict[str, Any] | None | Unset
        if isinstance(self.labels, Unset):
            labels = UNSET
        elif isinstance(self.labels, RollbackLabelsType0):
            labels = self.labels.to_dict()
        else:
            labels = self.labels

        note: None | str | Unset
        if isinstance(self.note, Unset):
            note = UNSET
        else:
            note = self.note

        author: None | str | Unset
        if isinstance(self.author, Unset):
            author = UNSET
        else:
            author = self.author

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "version": version,
            }
        )
        if labels is not UNSET:
            field_dict["labels"] = labels
        if note is not UNSET:
            field_dict["note"] = note
        if author is not UNSET:
            field_dict["author"] = author

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.rollback_labels_type_0 import RollbackLabelsType0  # noqa: PLC0415

        d = dict(src_dict)
        version = d.pop("version")

        def _parse_labels(data: object) -> None | RollbackLabelsType0 | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                labels_type_0 = RollbackLabelsType0.from_dict(data)

                return labels_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RollbackLabelsType0 | Unset, data)

        labels = _parse_labels(d.pop("labels", UNSET))

        def _parse_note(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        note = _parse_note(d.pop("note", UNSET))

        def _parse_author(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        author = _parse_author(d.pop("author", UNSET))

        rollback = cls(
            version=version,
            labels=labels,
            note=note,
            author=author,
        )

        return rollback
