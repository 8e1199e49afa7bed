from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.config_schema_schema import ConfigSchemaSchema


T = TypeVar("T", bound="ConfigSchema")


@_attrs_define
class ConfigSchema:
    schema: ConfigSchemaSchema
    """ A JSON Schema, of draft 2020-12 unless it says otherwise. """

    def to_dict(self) -> dict[str, Any]:
        schema = self.schema.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "schema": schema,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.config_schema_schema import ConfigSchemaSchema  # noqa: PLC0415

        d = dict(src_dict)
        schema = ConfigSchemaSchema.from_dict(d.pop("schema"))

        config_schema = cls(
            schema=schema,
        )

        return config_schema
