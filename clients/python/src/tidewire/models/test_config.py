from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

from ..models.trigger_type import TriggerType
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.cron_config import CronConfig
    from ..models.event_config import EventConfig
    from ..models.interval_config import IntervalConfig
    from ..models.time_config import TimeConfig
    from ..models.webhook_config import WebhookConfig


T = TypeVar("T", bound="TestConfig")


@_attrs_define
class TestConfig:
    """A trigger that is not stored, and what its test delivers.

    Example:
        {'config': {'endpoint': 'https://hooks.example/in'}, 'payload': {'id': 1}, 'type': 'webhook'}

    """

    type_: TriggerType
    """ What makes a trigger fire. """
    config: CronConfig | EventConfig | IntervalConfig | TimeConfig | WebhookConfig
    """ The config of a trigger, of the form that its `type` has. """
    payload: Any | Unset = UNSET
    """ Any JSON, at most 256 KiB; the config's payload if it is missing, and `{}` without one. """

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

        payload = self.payload

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "type": type_,
                "config": config,
            }
        )
        if payload is not UNSET:
            field_dict["payload"] = payload

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

        payload = d.pop("payload", UNSET)

        test_config = cls(
            type_=type_,
            config=config,
            payload=payload,
        )

        return test_config
