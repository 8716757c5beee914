"""Finds the choices that a consent tool attaches to rows, whatever the row is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profiles.readers.fields import mapping

_GPC_HEADER = "sec-gpc"


def choices(row: Mapping[str, Any], at: str = "$") -> dict[str, Any]:
    """Segment's `context.consent.categoryPreferences`, Adobe's `consents`, and GPC, where stated.

    GPC is `context.gpc: true`.
    """
    context = mapping(row, "context", at)
    consent = mapping(context, "consent", f"{at}.context")
    found: dict[str, Any] = {
        "categories": mapping(consent, "categoryPreferences", f"{at}.context.consent"),
        "consents": mapping(row, "consents", at),
    }
    found = {key: value for key, value in found.items() if value}
    if context.get("gpc") is True:
        found["gpc"] = True
    return found


def gpc_header(row: Mapping[str, Any]) -> dict[str, Any]:
    """GPC as the header `Sec-GPC: 1` of a row that carries the headers it was sent with."""
    headers = mapping(row, "headers")
    says = (name.lower() == _GPC_HEADER and str(headers[name]).strip() == "1" for name in headers)
    return {"gpc": True} if any(says) else {}
