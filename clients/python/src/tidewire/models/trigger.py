from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.trigger_status import TriggerStatus
from ..models.trigger_type import TriggerType
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.cron_config import CronConfig
    from ..models.event_config import EventConfig
    from ..models.interval_config import IntervalConfig
    from ..models.time_config import TimeConfig
    from ..models.webhook_config import WebhookConfig


T = TypeVar("T", bound="Trigger")


@_attrs_define
class Trigger:
    """A rule that makes executions."""

    id: str
    name: str
    type_: TriggerType
    """ What makes a trigger fire. """
    status: TriggerStatus
    config: CronConfig | EventConfig | IntervalConfig | TimeConfig | WebhookConfig
    """ The config of a trigger, of the form that its `type` has. """
    created_at: datetime.datetime
    updated_at: datetime.datetime
    webhook_url: None | str | Unset = UNSET
    """ Where a `webhook` is called. """
    next_scheduled_run: datetime.datetime | None | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.cron_config import CronConfig  # noqa: PLC0415
        from ..models.interval_config import IntervalConfig  # noqa: PLC0415
        from ..models.time_config import TimeConfig  # noqa: PLC0415
        from ..models.webhook_config import WebhookConfig  # noqa: PLC0415

        id = self.id

        name = self.name

        type_ = self.type_.value

        status = self.status.value

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

        created_at = self.created_at.isoformat()

        updated_at = self.updated_at.isoformat()

        webhook_url: None | str | Unset
        if isinstance(self.webhook_url, Unset):
            webhook_url = UNSET
        else:
            webhook_url = self.webhook_url

        next_scheduled_run: None | str | Unset
        if isinstance(self.next_scheduled_run, Unset):
            next_scheduled_run = UNSET
        elif isinstance(self.next_scheduled_run, datetime.datetime):
            next_scheduled_run = self.next_scheduled_run.isoformat()
        else:
            next_scheduled_run = self.next_scheduled_run

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "name": name,
                "type": type_,
                "status": status,
                "config": config,
                "created_at": created_at,
                "updated_at": updated_at,
            }
        )
        if webhook_url is not UNSET:
            field_dict["webhook_url"] = webhook_url
        if next_scheduled_run is not UNSET:
            field_dict["next_scheduled_run"] = next_scheduled_run

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.cron_config import CronConfig  # noqa: PLC0415
        from ..models.event_config import EventConfig  # noqa: PLC0415
        from ..models.interval_config import IntervalConfig  # noqa: PLC0415
        from ..models.time_config import TimeConfig  # noqa: PLC0415
        from ..models.webhook_config import WebhookConfig  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        name = d.pop("name")

        type_ = TriggerType(d.pop("type"))

        status = TriggerStatus(d.pop("status"))

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

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        updated_at = datetime.datetime.fromisoformat(d.pop("updated_at"))

        def _parse_webhook_url(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        webhook_url = _parse_webhook_url(d.pop("webhook_url", UNSET))

        def _parse_next_scheduled_run(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                next_scheduled_run_type_0 = datetime.datetime.fromisoformat(data)

                return next_scheduled_run_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        next_scheduled_run = _parse_next_scheduled_run(d.pop("next_scheduled_run", UNSET))

        trigger = cls(
            id=id,
            name=name,
            type_=type_,
            status=status,
            config=config,
            created_at=created_at,
            updated_at=updated_at,
            webhook_url=webhook_url,
            next_scheduled_run=next_scheduled_run,
        )

        trigger.additional_properties = d
        return trigger

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
