from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="NewSite")


@_attrs_define
class NewSite:
    """A site to be registered.

    Example:
        {'access_key': 'bk_…', 'base_url': 'http://127.0.0.1:8081', 'site_id': 'site-01jz'}

    """

    site_id: str
    """ The site's id at its source. """
    access_key: str
    """ Kept sealed, and never shown. """
    base_url: None | str | Unset = UNSET
    """ Where the source is; its definition's own if it is missing. """
    name: None | str | Unset = UNSET
    kind: None | str | Unset = UNSET
    """ By which definition it is read; `builder` if it is missing. """

    def to_dict(self) -> dict[str, Any]:
        site_id = self.site_id

        access_key = self.access_key

        base_url: None | str | Unset
        if isinstance(self.base_url, Unset):
            base_url = UNSET
        else:
            base_url = self.base_url

        name: None | str | Unset
        if isinstance(self.name, Unset):
            name = UNSET
        else:
            name = self.name

        kind: None | str | Unset
        if isinstance(self.kind, Unset):
            kind = UNSET
        else:
            kind = self.kind

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "site_id": site_id,
                "access_key": access_key,
            }
        )
        if base_url is not UNSET:
            field_dict["base_url"] = base_url
        if name is not UNSET:
            field_dict["name"] = name
        if kind is not UNSET:
            field_dict["kind"] = kind

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        site_id = d.pop("site_id")

        access_key = d.pop("access_key")

        def _parse_base_url(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        base_url = _parse_base_url(d.pop("base_url", UNSET))

        def _parse_name(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        name = _parse_name(d.pop("name", UNSET))

        def _parse_kind(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        kind = _parse_kind(d.pop("kind", UNSET))

        new_site = cls(
            site_id=site_id,
            access_key=access_key,
            base_url=base_url,
            name=name,
            kind=kind,
        )

        return new_site
