from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.trigger_type import TriggerType
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.cron_config import CronConfig
    from ..models.event_config import EventConfig
    from ..models.interval_config import IntervalConfig
    from ..models.time_config import TimeConfig
    from ..models.webhook_config import WebhookConfig


T = TypeVar("T", bound="PreviewTrigger")


@_attrs_define
class PreviewTrigger:
    """A trigger that is not stored, and how far to look ahead.

    Example:
        {'config': {'cron': '0 2 * * *', 'endpoint': 'https://hooks.example/in', 'timezone': 'Europe/Berlin'}, 'count':
            3, 'type': 'cron_scheduled'}

    """

    type_: TriggerType
    """ What makes a trigger fire. """
    config: CronConfig | EventConfig | IntervalConfig | TimeConfig | WebhookConfig
    """ The config of a trigger, of the form that its `type` has. """
    from_: datetime.datetime | None | Unset = UNSET
    count: int | None | Unset = UNSET
    """ How many firings; 5 if it is missing. """

    def to_dict(self) -> dict[str, Any]:
        from ..models.cron_config import CronConfig  # noqa: PLC0415
        from ..models.interval_config import IntervalConfig  # noqa: PLC0415
        from ..models.time_config import TimeConfig  # noqa: PLC0415
        from ..models.webhook_config import WebhookConfig  # noqa: PLC0415

        type_ = self.type_.value

        config: dict[str, Any]
        if isinstance(self.config, WebhookConfig):
            config = self.config.to_dict()
        elif isinstance(self.config, TimeConfig):
            config = self.config.to_dict()
        elif isinstance(self.config, CronConfig):
            config = self.config.to_dict()
        elif isinstance(self.config, IntervalConfig):
            config = self.config.to_dict()
        else:
            config = self.config.to_dict()

        from_: None | str | Unset
        if isinstance(self.from_, Unset):
            from_ = UNSET
        elif isinstance(self.from_, datetime.datetime):
            from_ = self.from_.isoformat()
        else:
            from_ = self.from_

        count: int | None | Unset
        if isinstance(self.count, Unset):
            count = UNSET
        else:
            count = self.count

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "type": type_,
                "config": config,
            }
        )
        if from_ is not UNSET:
            field_dict["from"] = from_
        if count is not UNSET:
            field_dict["count"] = count

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.cron_config import CronConfig  # noqa: PLC0415
        from ..models.event_config import EventConfig  # noqa: PLC0415
        from ..models.interval_config import IntervalConfig  # noqa: PLC0415
        from ..models.time_config import TimeConfig  # noqa: PLC0415
        from ..models.webhook_config import WebhookConfig  # noqa: PLC0415

        d = dict(src_dict)
        type_ = TriggerType(d.pop("type"))

        def _parse_config(data: object) -> CronConfig | EventConfig | IntervalConfig | TimeConfig | WebhookConfig:
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_trigger_config_type_0 = WebhookConfig.from_dict(data)

                return componentsschemas_trigger_config_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_trigger_config_type_1 = TimeConfig.from_dict(data)

                return componentsschemas_trigger_config_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_trigger_config_type_2 = CronConfig.from_dict(data)

                return componentsschemas_trigger_config_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_trigger_config_type_3 = IntervalConfig.from_dict(data)

                return componentsschemas_trigger_config_type_3
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_trigger_config_type_4 = EventConfig.from_dict(data)

            return componentsschemas_trigger_config_type_4

        config = _parse_config(d.pop("config"))

        def _parse_from_(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                from_type_0 = datetime.datetime.fromisoformat(data)

                return from_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        from_ = _parse_from_(d.pop("from", UNSET))

        def _parse_count(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        count = _parse_count(d.pop("count", UNSET))

        preview_trigger = cls(
            type_=type_,
            config=config,
            from_=from_,
            count=count,
        )

        return preview_trigger
