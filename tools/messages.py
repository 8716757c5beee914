"""Sends messages through the channels a deployment has."""

from __future__ import annotations

from collections.abc import Mapping

from store.work import Work
from tools.channels.channel import Channel, Message, Receipt
from tools.toolbox import Intent, Outcome, Recovery


class MessageTool:
    """A message to one contact point, through the channel it names."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = dict(channels)

    def recovery(self, intent: Intent) -> Recovery:
        """What the channel can say about an interrupted sending."""
        channel = self._channels.get(intent.channel or "")
        return "none" if channel is None else channel.recovery

    async def execute(self, intent: Intent, work: Work) -> Outcome:
        """Hand the message to its channel, once."""
        channel = self._channels.get(intent.channel or "")
        if channel is None:
            return Outcome(
                "failed", f"no adapter serves channel `{intent.channel}`", "consent_unknown"
            )
        return _outcome(await channel.send(_message(intent)))

    async def lookup(self, intent: Intent) -> Outcome | None:
        """Ask the channel whether it has this message."""
        channel = self._channels.get(intent.channel or "")
        if channel is None:
            return Outcome("unknown", f"no adapter serves channel `{intent.channel}` any more")
        receipt = await channel.lookup(intent.outbox_id, intent.at)
        return None if receipt is None else _outcome(receipt)


def _message(intent: Intent) -> Message:
    said = intent.arguments
    return Message(
        key=intent.outbox_id,
        channel=intent.channel or "",
        to=said["to"],
        sender=said["sender"],
        subject=said["subject"],
        body=said["body"],
        headers=said.get("headers", {}),
        sent_at=intent.at,
    )


def _outcome(receipt: Receipt) -> Outcome:
    return Outcome(receipt.state, receipt.detail)
