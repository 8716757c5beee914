"""Answers requests to unsubscribe, each as an event that the supervisor decides about."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Literal

from agents.supervisor import through_graph
from profiles.unsubscribe import ONE_CLICK, Answer, answer
from service.assemble import assemble, make_identity
from service.lines import Printed
from service.running import Run
from service.settings import instant_given

Method = Literal["GET", "POST"]


def unsubscribe(
    workspace: Path | None,
    store: str | None,
    token: str,
    method: Method,
    at: str | None,
    *,
    as_json: bool,
) -> Printed:
    """Answer a request as the web address in a message would: GET shows, POST says no."""
    with closing(assemble(workspace, store)) as assembly:
        now = instant_given(at) or assembly.database.clock()
        rules, form = make_identity(assembly.workspace), dict((ONE_CLICK,))
        given = answer(assembly.database, rules, token, method, now, form)
        if given.event is not None:
            run = Run(assembly, through_graph(assembly.deps), lambda _: None)
            asyncio.run(run.over([given.event]))
        yield from _told(given, method, as_json=as_json)


def _told(given: Answer, method: str, *, as_json: bool) -> Printed:
    if as_json:
        yield {**given.page, "changed": given.event is not None}
        return
    purpose, topic = given.page["purpose"], given.page["topic"]
    what = f"`{purpose}`" + (f", topic `{topic}`" if topic else "") if purpose else "all marketing"
    about = f"{what} of {given.page['brand']} by {given.page['channel']} to this address"
    if method == "GET":
        yield f"unsubscribes from {about}; nothing was changed"
    elif given.event is None:
        yield f"nobody has this address any more, and it gets no marketing: {about}"
    else:
        yield f"unsubscribed from {about}"
