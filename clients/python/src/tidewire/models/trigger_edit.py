from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.trigger_status import TriggerStatus
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.cron_config import CronConfig
    from ..models.event_config import EventConfig
    from ..models.interval_config import IntervalConfig
    from ..models.time_config import TimeConfig
    from ..models.webhook_config import WebhookConfig


T = TypeVar("T", bound="TriggerEdit")


@_attrs_define
class TriggerEdit:
    """What is to be changed; what is missing stays."""

    name: None | str | Unset = UNSET
    status: None | TriggerStatus | Unset = UNSET
    config: CronConfig | EventConfig | IntervalConfig | None | TimeConfig | Unset | WebhookConfig = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.cron_config import CronConfig  # noqa: PLC0415
        from ..models.event_config import EventConfig  # noqa: PLC0415
        from ..models.interval_config import IntervalConfig  # noqa: PLC0415
        from ..models.time_config import TimeConfig  # noqa: PLC0415
        from ..models.webhook_config import WebhookConfig  # noqa: PLC0415

        name: None | str | Unset
        if isinstance(self.name, Unset):
            name = UNSET
        else:
            name = self.name

        status: None | str | Unset
        if isinstance(self.status, Unset):
            status = UNSET
        elif isinstance(self.status, TriggerStatus):
            status = self.status.value
        else:
            status = self.status

        config: dict[str, Any] | None | Unset
        if isinstance(self.config, Unset):
            config = UNSET
        elif isinstance(self.config, WebhookConfig):
            config = self.config.to_dict()
        elif isinstance(self.config, TimeConfig):
            config = self.config.to_dict()
        elif isinstance(self.config, CronConfig):
            config = self.config.to_dict()
        elif isinstance(self.config, IntervalConfig):
            config = self.config.to_dict()
        elif isinstance(self.config, EventConfig):
            config = self.config.to_dict()
        else:
            config = self.config

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if name is not UNSET:
            field_dict["name"] = name
        if status is not UNSET:
            field_dict["status"] = status
        if config is not UNSET:
            field_dict["config"] = config

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.cron_config import CronConfig  # noqa: PLC0415
        from ..models.event_config import EventConfig  # noqa: PLC0415
        from ..models.interval_config import IntervalConfig  # noqa: PLC0415
        from ..models.time_config import TimeConfig  # noqa: PLC0415
        from ..models.webhook_config import WebhookConfig  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_name(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        name = _parse_name(d.pop("name", UNSET))

        def _parse_status(data: object) -> None | TriggerStatus | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                status_type_0 = TriggerStatus(data)

                return status_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | TriggerStatus | Unset, data)

        status = _parse_status(d.pop("status", UNSET))

        def _parse_config(
            data: object,
        ) -> CronConfig | EventConfig | IntervalConfig | None | TimeConfig | Unset | WebhookConfig:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
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
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_trigger_config_type_4 = EventConfig.from_dict(data)

                return componentsschemas_trigger_config_type_4
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(CronConfig | EventConfig | IntervalConfig | None | TimeConfig | Unset | WebhookConfig, data)

        config = _parse_config(d.pop("config", UNSET))

        trigger_edit = cls(
            name=name,
            status=status,
            config=config,
        )

        return trigger_edit
