from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.new_config_config import NewConfigConfig
    from ..models.new_config_labels_type_0 import NewConfigLabelsType0


T = TypeVar("T", bound="NewConfig")


@_attrs_define
class NewConfig:
    config: NewConfigConfig
    """ At most 256 KiB. """
    labels: NewConfigLabelsType0 | None | Unset = UNSET
    """ Only for agents that have all of these; for everyone if there are none. """
    percent: int | None | Unset = UNSET
    """ Only for so many of a hundred of them; for all if it is missing. """
    gate: None | str | Unset = UNSET
    """ What must hold before the share is raised. """
    note: None | str | Unset = UNSET
    """ Why, for those who read the history. """
    author: None | str | Unset = UNSET
    """ By whom, if the key does not say it well enough. """

    def to_dict(self) -> dict[str, Any]:
        from ..models.new_config_labels_type_0 import NewConfigLabelsType0  # noqa: PLC0415

        config = self.config.to_dict()

        labels: dict[str, Any] | None | Unset
        if isinstance(self.labels, Unset):
            labels = UNSET
        elif isinstance(self.labels, NewConfigLabelsType0):
            labels = self.labels.to_dict()
        else:
            labels = self.labels

        percent: int | None | Unset
        if isinstance(self.percent, Unset):
            percent = UNSET
        else:
            percent = self.percent

        gate: None | str | Unset
        if isinstance(self.gate, Unset):
            gate = UNSET
        else:
            gate = self.gate

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
                "config": config,
            }
        )
        if labels is not UNSET:
            field_dict["labels"] = labels
        if percent is not UNSET:
            field_dict["percent"] = percent
        if gate is not UNSET:
            field_dict["gate"] = gate
        if note is not UNSET:
            field_dict["note"] = note
        if author is not UNSET:
            field_dict["author"] = author

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.new_config_config import NewConfigConfig  # noqa: PLC0415
        from ..models.new_config_labels_type_0 import NewConfigLabelsType0  # noqa: PLC0415

        d = dict(src_dict)
        config = NewConfigConfig.from_dict(d.pop("config"))

        def _parse_labels(data: object) -> NewConfigLabelsType0 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                labels_type_0 = NewConfigLabelsType0.from_dict(data)

                return labels_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(NewConfigLabelsType0 | None | Unset, data)

        labels = _parse_labels(d.pop("labels", UNSET))

        def _parse_percent(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        percent = _parse_percent(d.pop("percent", UNSET))

        def _parse_gate(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        gate = _parse_gate(d.pop("gate", UNSET))

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

        new_config = cls(
            config=config,
            labels=labels,
            percent=percent,
            gate=gate,
            note=note,
            author=author,
        )

        return new_config
