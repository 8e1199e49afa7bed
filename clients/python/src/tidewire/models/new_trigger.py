from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.trigger_status import TriggerStatus
from ..models.trigger_type import TriggerType
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.cron_config import CronConfig
    from ..models.event_config import EventConfig
    from ..models.interval_config import IntervalConfig
    from ..models.time_config import TimeConfig
    from ..models.webhook_config import WebhookConfig


T = TypeVar("T", bound="NewTrigger")


@_attrs_define
class NewTrigger:
    """A trigger to be made.

    Example:
        {'config': {'cron': '0 2 * * *', 'endpoint': 'https://hooks.example/in', 'timezone': 'Europe/Berlin'}, 'name':
            'nightly report', 'type': 'cron_scheduled'}

    """

    name: str
    """ What people call it; need not be unique. """
    type_: TriggerType
    """ What makes a trigger fire. """
    config: CronConfig | EventConfig | IntervalConfig | TimeConfig | WebhookConfig
    """ The config of a trigger, of the form that its `type` has. """
    status: None | TriggerStatus | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.cron_config import CronConfig  # noqa: PLC0415
        from ..models.interval_config import IntervalConfig  # noqa: PLC0415
        from ..models.time_config import TimeConfig  # noqa: PLC0415
        from ..models.webhook_config import WebhookConfig  # noqa: PLC0415

        name = self.name

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

        status: None | str | Unset
        if isinstance(self.status, Unset):
            status = UNSET
        elif isinstance(self.status, TriggerStatus):
            status = self.status.value
        else:
            status = self.status

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "name": name,
                "type": type_,
                "config": config,
            }
        )
        if status is not UNSET:
            field_dict["status"] = status

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.cron_config import CronConfig  # noqa: PLC0415
        from ..models.event_config import EventConfig  # noqa: PLC0415
        from ..models.interval_config import IntervalConfig  # noqa: PLC0415
        from ..models.time_config import TimeConfig  # noqa: PLC0415
        from ..models.webhook_config import WebhookConfig  # noqa: PLC0415

        d = dict(src_dict)
        name = d.pop("name")

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

        new_trigger = cls(
            name=name,
            type_=type_,
            config=config,
            status=status,
        )

        return new_trigger
