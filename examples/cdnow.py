"""Turns the CDNOW purchases (customer, day, number of CDs, dollars) into canonical JSON lines.

Usage: python examples/cdnow.py CDNOW_master.txt > cdnow.jsonl

The rows have no ids; several are of one day, some wholly identical. Each stays an event of its
own: the reader of the lines tells equal rows of one file apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator


def rows(path: str) -> Iterator[dict[str, object]]:
    """One canonical event a purchase. The last four columns are the same in both files."""
    with open(path, encoding="ascii") as file:  # noqa: PTH123 - nothing else is needed of the path
        for line in file:
            columns = line.split()
            if len(columns) < 4 or not columns[-3].isdigit():  # the header
                continue
            customer, day, cds, dollars = columns[-4:]
            yield {
                "event": "order_completed",
                "source": "cdnow",
                "at": f"{day[:4]}-{day[4:6]}-{day[6:]}T00:00:00Z",
                "user_id": customer,
                "properties": {"cds": int(cds), "value": float(dollars)},
            }


if __name__ == "__main__":
    for row in rows(sys.argv[1]):
        print(json.dumps(row))  # noqa: T201 - printing is what it is for
