from __future__ import annotations

import socket
from email import message_from_bytes
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.shop import cart, consent, open_shop, row


class Inbox:
    """Keeps what arrives; refuses some recipients."""

    def __init__(self) -> None:
        self.arrived: list[Envelope] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuse who is not at home."""
        if address.startswith("gone"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take the message."""
        self.arrived.append(envelope)
        return "250 taken"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_workspace_with_a_mail_server_sends_through_it(tmp_path: Path) -> None:
    """With SMTP, mail leaves by it, once; a refused one gives its place in the cap back."""
    inbox, port = Inbox(), _free_port()
    settings = (
        'url = "sqlite:///safeconduct.db"\n',
        'url = "sqlite:///safeconduct.db"\n\n[channels.email]\nadapter = "smtp"\n'
        f'[channels.email.smtp]\nhost = "127.0.0.1"\nport = {port}\nstarttls = false\n',
    )
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        with open_shop(tmp_path / "w", changes={"settings.toml": settings}) as shop:
            story = [
                consent("granted", "2026-10-05T08:00:00Z", email="maya@shop.example"),
                cart("2026-10-05T09:00:00Z"),
                consent("granted", "2026-10-05T09:00:00Z", "c-2", email="gone@shop.example"),
                cart("2026-10-05T09:05:00Z", "c-2"),
            ]
            lines = shop.run(*story)
            assert [line["verdict"] for line in lines] == ["none", "permitted"] * 2
            assert [line["verdict"] for line in shop.run(*story)] == ["duplicate"] * 4
            states = {c["profile_id"]: c["state"] for c in shop.rows("contacts")}
            assert states[lines[1]["profile_id"]] == "committed"
            assert states[lines[3]["profile_id"]] == "failed"
            assert {o["state"] for o in shop.rows("outcomes")} == {"sent", "failed"}
            assert not shop.sent("email")
            again = shop.one(cart("2026-10-05T09:10:00Z", "c-2", cart_id="k-2"))
            assert again["action"] == "remind_by_email"
    finally:
        controller.stop()
    (taken,) = inbox.arrived
    assert isinstance(taken.content, bytes)
    message = message_from_bytes(taken.content)
    assert message["To"] == "maya@shop.example"
    assert message["From"] == '"The Shop" <hello@shop.example>'


def test_a_mail_server_that_is_down_loses_no_decision(tmp_path: Path) -> None:
    """With nobody listening the step fails, what was reserved is given back, the run goes on."""
    settings = (
        'url = "sqlite:///safeconduct.db"\n',
        'url = "sqlite:///safeconduct.db"\n\n[channels.email]\nadapter = "smtp"\n'
        f'[channels.email.smtp]\nhost = "127.0.0.1"\nport = {_free_port()}\n',
    )
    with open_shop(tmp_path / "w", changes={"settings.toml": settings}) as shop:
        lines = shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="maya@shop.example"),
            cart("2026-10-05T09:00:00Z"),
            row("self_service_failed", "2026-10-05T09:30:00Z", topic="returns"),
        )
        assert [line["verdict"] for line in lines] == ["none", "permitted", "permitted"]
        assert [o["state"] for o in shop.rows("outcomes")] == ["failed", "sent"]
        assert [c["state"] for c in shop.rows("contacts")] == ["failed"]
