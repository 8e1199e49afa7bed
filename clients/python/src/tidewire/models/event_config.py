from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.delivery_config_headers_type_0 import DeliveryConfigHeadersType0
    from ..models.job_config import JobConfig
    from ..models.retry_config import RetryConfig


T = TypeVar("T", bound="EventConfig")


@_attrs_define
class EventConfig:
    """`event`: fires for each matching event that is stored after the trigger was saved."""

    event_type: str
    """ A type, or the beginning of one and `*`. """
    endpoint: None | str | Unset = UNSET
    """ An http or https URL. """
    job: JobConfig | None | Unset = UNSET
    http_method: None | str | Unset = UNSET
    """ `POST` if it is missing. """
    headers: DeliveryConfigHeadersType0 | None | Unset = UNSET
    """ Sent with each attempt. Not `host`, `content-length`, `webhook-*`, `x-tidewire-*` or a hop-by-hop header.
    Credentials are masked in answers. """
    payload: Any | Unset = UNSET
    """ What is delivered where the firing brings nothing of its own: any JSON, at most 256 KiB. """
    retry: None | RetryConfig | Unset = UNSET
    timeout_seconds: float | None | Unset = UNSET
    """ How long an attempt may take, to the last byte of the answer; 15 if it is missing. """
    secret: list[str] | None | str | Unset = UNSET
    filter_: Any | Unset = UNSET
    """ Conditions on the event's fields. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.delivery_config_headers_type_0 import DeliveryConfigHeadersType0  # noqa: PLC0415
        from ..models.job_config import JobConfig  # noqa: PLC0415
        from ..models.retry_config import RetryConfig  # noqa: PLC0415

        event_type = self.event_type

        endpoint: None | str | Unset
        if isinstance(self.endpoint, Unset):
            endpoint = UNSET
        else:
            endpoint = self.endpoint

        job: dict[str, Any] | None | Unset
        if isinstance(self.job, Unset):
            job = UNSET
        elif isinstance(self.job, JobConfig):
            job = self.job.to_dict()
        else:
            job = self.job

        http_method: None | str | Unset
        if isinstance(self.http_method, Unset):
            http_method = UNSET
        else:
            http_method = self.http_method

        headers: dict[str, Any] | None | Unset
        if isinstance(self.headers, Unset):
            headers = UNSET
        elif isinstance(self.headers, DeliveryConfigHeadersType0):
            headers = self.headers.to_dict()
        else:
            headers = self.headers

        payload = self.payload

        retry: dict[str, Any] | None | Unset
        if isinstance(self.retry, Unset):
            retry = UNSET
        elif isinstance(self.retry, RetryConfig):
            retry = self.retry.to_dict()
        else:
            retry = self.retry

        timeout_seconds: float | None | Unset
        if isinstance(self.timeout_seconds, Unset):
            timeout_seconds = UNSET
        else:
            timeout_seconds = self.timeout_seconds

        secret: list[str] | None | str | Unset
        if isinstance(self.secret, Unset):
            secret = UNSET
        elif isinstance(self.secret, list):
            secret = self.secret

        else:
            secret = self.secret

        filter_ = self.filter_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "event_type": event_type,
            }
        )
        if endpoint is not UNSET:
            field_dict["endpoint"] = endpoint
        if job is not UNSET:
            field_dict["job"] = job
        if http_method is not UNSET:
            field_dict["http_method"] = http_method
        if headers is not UNSET:
            field_dict["headers"] = headers
        if payload is not UNSET:
            field_dict["payload"] = payload
        if retry is not UNSET:
            field_dict["retry"] = retry
        if timeout_seconds is not UNSET:
            field_dict["timeout_seconds"] = timeout_seconds
        if secret is not UNSET:
            field_dict["secret"] = secret
        if filter_ is not UNSET:
            field_dict["filter"] = filter_

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.delivery_config_headers_type_0 import DeliveryConfigHeadersType0  # noqa: PLC0415
        from ..models.job_config import JobConfig  # noqa: PLC0415
        from ..models.retry_config import RetryConfig  # noqa: PLC0415

        d = dict(src_dict)
        event_type = d.pop("event_type")

        def _parse_endpoint(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        endpoint = _parse_endpoint(d.pop("endpoint", UNSET))

        def _parse_job(data: object) -> JobConfig | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                job_type_0 = JobConfig.from_dict(data)

                return job_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(JobConfig | None | Unset, data)

        job = _parse_job(d.pop("job", UNSET))

        def _parse_http_method(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        http_method = _parse_http_method(d.pop("http_method", UNSET))

        def _parse_headers(data: object) -> DeliveryConfigHeadersType0 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                headers_type_0 = DeliveryConfigHeadersType0.from_dict(data)

                return headers_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DeliveryConfigHeadersType0 | None | Unset, data)

        headers = _parse_headers(d.pop("headers", UNSET))

        payload = d.pop("payload", UNSET)

        def _parse_retry(data: object) -> None | RetryConfig | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                retry_type_0 = RetryConfig.from_dict(data)

                return retry_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RetryConfig | Unset, data)

        retry = _parse_retry(d.pop("retry", UNSET))

        def _parse_timeout_seconds(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        timeout_seconds = _parse_timeout_seconds(d.pop("timeout_seconds", UNSET))

        def _parse_secret(data: object) -> list[str] | None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                componentsschemas_secret_config_type_1 = cast(list[str], data)

                return componentsschemas_secret_config_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | str | Unset, data)

        secret = _parse_secret(d.pop("secret", UNSET))

        filter_ = d.pop("filter", UNSET)

        event_config = cls(
            event_type=event_type,
            endpoint=endpoint,
            job=job,
            http_method=http_method,
            headers=headers,
            payload=payload,
            retry=retry,
            timeout_seconds=timeout_seconds,
            secret=secret,
            filter_=filter_,
        )

        event_config.additional_properties = d
        return event_config

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
