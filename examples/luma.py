"""Turns Luma's CRM, loyalty and till exports (Adobe XDM) into canonical JSON lines.

Usage: python examples/luma.py luma-crm.json.gz luma-loyalty.json.gz ... > luma.jsonl

These rows carry their identifiers in the tenant's own fields instead of an `identityMap`, and the
files hold arrays with a few doubled and misplaced separators. Luma's web events have an
`identityMap` and need no importer; their `lumaCrmId` meets the CRM's here.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]


def values(path: str) -> Iterator[Row]:
    """Every object of a file, whatever stands between them."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        text = file.read()
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        value, end = decoder.raw_decode(text, at)
        yield value
        at = text.find("{", end)


def canonical(said: Row) -> Row:
    """One CRM, loyalty or till row as a canonical event."""
    system = said["_yourOrganizationID"]["systemIdentifier"]
    named = {"lumacrmid": system.get("crmId"), "loyaltyid": system.get("loyaltyId")}
    row: Row = {"identifiers": {ns: value for ns, value in named.items() if value}}
    if "commerce" in said:
        order = said["commerce"]["order"]
        properties = {"order_id": order["purchaseID"], "value": order["priceTotal"]}
        till = {"event": "order_completed", "source": "till", "properties": properties}
        return {**row, **till, "id": said["_id"], "at": said["timestamp"]}
    row |= {"event": "identified", "source": "loyalty" if "loyalty" in said else "crm"}
    name = said.get("person", {}).get("name", {})
    traits = {"first_name": name.get("firstName"), "last_name": name.get("lastName")}
    traits |= {"address": said.get("homeAddress"), "loyalty": said.get("loyalty")}
    row["traits"] = {key: value for key, value in traits.items() if value is not None}
    if "personalEmail" in said:
        row["email"] = said["personalEmail"]["address"]
    if said.get("mobilePhone", {}).get("number"):
        row["phone"] = f"+1{said['mobilePhone']['number']}"
    return row


if __name__ == "__main__":
    for path in sys.argv[1:]:
        for value in values(path):
            print(json.dumps(canonical(value)))  # noqa: T201 - printing is what it is for
