"""The conformance suite of channels, and what each one alone must withstand."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import os
import resource
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP as Server
from aiosmtpd.smtp import AuthResult, Envelope, Session

from domain.errors import DeliveryUnknown
from tools.channels.channel import Channel, Message, Receipt
from tools.channels.local import LocalOutbox
from tools.channels.smtp import SmtpChannel

SENT_AT = datetime(2026, 5, 4, 23, 30, tzinfo=UTC)
PASSWORD = "correct horse battery staple"


def _message(**changed: Any) -> Message:
    given: dict[str, Any] = {
        "key": "d-01-0",
        "channel": "email",
        "to": "anne@example.org",
        "sender": "The Shop <hello@shop.example>",
        "subject": "Your basket is waiting",
        "body": "Hello Anne.\n",
        "headers": {},
        "sent_at": SENT_AT,
    }
    return Message(**(given | changed))


def _send(via: Channel, /, **changed: Any) -> Receipt:
    receipt = asyncio.run(via.send(_message(**changed)))
    if isinstance(via, LocalOutbox):
        via.settle()
    return receipt


def _read(raw: bytes) -> EmailMessage:
    read = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return read


def _smtp(port: int, **changed: Any) -> SmtpChannel:
    given: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "username": None,
        "password": None,
        "starttls": None,
        "timeout": 5.0,
    }
    return SmtpChannel(**(given | changed))


class Mailbox:
    """A real server's handler: keeps what it accepts, and refuses whom it is told to."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.envelopes: list[tuple[str | None, list[str]]] = []
        self.passwords: list[str] = []
        self.data_reply = "250 OK queued as Q1"

    def authenticate(
        self, server: Server, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        self.passwords.append(data.password.decode())
        return AuthResult(success=self.passwords[-1] == PASSWORD, handled=False)

    async def handle_MAIL(
        self, server: Server, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("banned@"):
            return "550 5.7.1 go away"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: Server, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return f"550 5.1.1 <{address}> is not known here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Server, session: Session, envelope: Envelope) -> str:
        if self.data_reply.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.raw.append(envelope.content)
            self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
        return self.data_reply


@contextmanager
def _serving(mailbox: Mailbox, host: str = "127.0.0.1", **options: Any) -> Iterator[int]:
    # The server is told a port of 0 and asked afterwards: no other process can take it between.
    options |= {"enable_SMTPUTF8": True, "authenticator": mailbox.authenticate}
    controller = _FreePort(mailbox, hostname=host, port=0, **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


class _FreePort(Controller):
    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


class Bench(Protocol):
    """A channel and a way to see what arrived through it."""

    channel: Channel

    def arrived(self) -> list[EmailMessage]: ...


class LocalBench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.channel: Channel = LocalOutbox(folder)

    def arrived(self) -> list[EmailMessage]:
        return [_read(path.read_bytes()) for path in _files(self.folder)]


class SmtpBench:
    def __init__(self, mailbox: Mailbox, port: int) -> None:
        self.mailbox = mailbox
        self.channel: Channel = _smtp(port)

    def arrived(self) -> list[EmailMessage]:
        return [_read(raw) for raw in self.mailbox.raw]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(params=["local", "smtp"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "local":
        yield LocalBench(tmp_path / "outbox")
        return
    mailbox = Mailbox()
    with _serving(mailbox) as port:
        yield SmtpBench(mailbox, port)


def test_a_message_is_sent_once_and_whole(bench: Bench) -> None:
    """One sending is one e-mail that bears its key, its parties, its date and what made it."""
    receipt = _send(bench.channel, headers={"List-Unsubscribe": "<https://shop.example/u/1>"})
    (mail,) = bench.arrived()
    assert receipt.state == "sent"
    assert mail["X-Safeconduct-Key"] == "d-01-0"
    assert mail["Message-ID"] == "<d-01-0@shop.example>"
    assert (mail["From"], mail["To"]) == ("The Shop <hello@shop.example>", "anne@example.org")
    assert mail["Date"].datetime == SENT_AT
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe"] == "<https://shop.example/u/1>"
    assert mail.get_content().replace("\r\n", "\n") == "Hello Anne.\n"


@pytest.mark.parametrize(
    "subject",
    [
        "Grüße aus Köln, 你好, 👩‍👩‍👧",
        "🎁 " * 60,
        "x" * 2000,
        "=?utf-8?q?a=0D=0ABcc:_eve=40example.org?= naïve",
        "=?utf-8?b?YQ==?=",
        "  blanks around  ",
        "",
    ],
    ids=["scripts", "long", "unbroken", "smuggled", "encoded", "blanks", "empty"],
)
def test_a_subject_arrives_as_it_was_written(bench: Bench, subject: str) -> None:
    """Whatever a subject holds, the reader sees these characters and no header more."""
    assert _send(bench.channel, subject=subject).state == "sent"
    (mail,) = bench.arrived()
    assert "".join(_decoded(mail, "Subject")) == subject
    assert "Bcc" not in mail


def _decoded(mail: EmailMessage, name: str) -> list[str]:
    """Headers as an ordinary mail reader decodes them, white space included."""
    plain = email.message_from_bytes(mail.as_bytes(policy=_AS_IS), policy=email.policy.compat32)
    return [str(make_header(decode_header(value))) for value in plain.get_all(name, [])]


_AS_IS = email.policy.default.clone(refold_source="none")


@pytest.mark.parametrize(
    "body",
    [
        "Grüße 👋\n你好\n",
        ".\n.. dots\n.\nFrom here\n",
        "trailing blanks  \n\ttab\t\n",
        "x" * 5000 + "\n",
        "a\u2028b\x0bc\x00d\n",
        "Subject: not a header\nBcc: eve@example.org\n\nbody\n",
    ],
    ids=["scripts", "dots", "blanks", "long_line", "controls", "headers"],
)
def test_a_body_arrives_as_it_was_written(bench: Bench, body: str) -> None:
    """No body ends the message early, loses a character or becomes a header."""
    assert _send(bench.channel, body=body).state == "sent"
    (mail,) = bench.arrived()
    assert mail.get_content().replace("\r\n", "\n") == body
    assert "Bcc" not in mail


def test_a_senders_name_arrives_as_it_was_written(bench: Bench) -> None:
    """A brand's name may need quoting or encoding and stays one sender."""
    for index, name in enumerate(['Shop, "Best" & Co.', "Café Ünïcode 🍰"]):
        quoted = name.replace('"', '\\"')
        sender = f'"{quoted}" <hello@shop.example>'
        assert _send(bench.channel, key=f"k{index}", sender=sender).state == "sent"
        (address,) = bench.arrived()[index]["From"].addresses
        assert (address.display_name, address.addr_spec) == (name, "hello@shop.example")


def test_a_long_unsubscribe_address_is_not_folded(bench: Bench) -> None:
    """Mail readers recognise one-click unsubscription however long its token is."""
    value = f"<mailto:u@shop.example>, <https://shop.example/u/{'t' * 300}>"
    assert _send(bench.channel, headers={"List-Unsubscribe": value}).state == "sent"
    (mail,) = bench.arrived()
    assert mail["List-Unsubscribe"] == value


_BREAKS = ["\r\n", "\n", "\r", "\x00", "\x0b", "\x85", "\u2028"]


@pytest.mark.parametrize("break_", _BREAKS, ids=[f"u{ord(b[-1]):04x}" for b in _BREAKS])
@pytest.mark.parametrize("field", ["to", "sender", "subject", "header"])
def test_an_injected_line_is_refused(bench: Bench, field: str, break_: str) -> None:
    """A line break in what becomes a header sends nothing, and the receipt says where it was."""
    evil = f"anne@example.org{break_}Bcc: eve@example.org"
    changed = {"headers": {"X-Note": evil}} if field == "header" else {field: evil}
    receipt = _send(bench.channel, **changed)
    shown = "X-Note" if field == "header" else field
    assert receipt.state == "failed"
    assert f"`{shown}` holds a line break" in receipt.detail
    assert bench.arrived() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"headers": {"Bcc": "eve@example.org"}},
        {"headers": {"resent-to": "eve@example.org"}},
        {"headers": {"Content-Type": "text/html"}},
        {"headers": {"X-Safeconduct-Key": "other"}},
        {"headers": {"X-A: b\r\nBcc": "eve@example.org"}},
        {"headers": {"X-A": "1", "x-a": "2"}},
        {"headers": {"X-A": "x" * 901}},
        {"to": "anne@example.org, eve@example.org"},
        {"to": "anne@example.org> NOTIFY=NEVER <x"},
        {"to": ""},
        {"sender": ""},
        {"sender": "A <a@shop.example>, B <b@shop.example>"},
        {"body": "half a pair \ud83d"},
        {"subject": "half a pair \ud83d"},
        {"key": "../../etc/passwd"},
        {"key": ""},
        {"key": "k\n"},
        {"key": "k" * 129},
        {"channel": ".."},
        {"channel": "a/b"},
    ],
)
def test_what_cannot_be_sent_safely_is_refused(bench: Bench, changed: dict[str, Any]) -> None:
    """Nothing reaches a second person, another file or another meaning; nothing is raised."""
    receipt = _send(bench.channel, **changed)
    assert receipt.state == "failed"
    assert receipt.detail
    assert bench.arrived() == []


def test_a_receipt_names_nobody(bench: Bench) -> None:
    """Details are kept for ever, so that an address in one could never be erased."""
    receipts = [
        _send(bench.channel, to="anne at example.org"),
        _send(bench.channel, subject="anne@example.org\n"),
        _send(bench.channel, key="k2"),
    ]
    assert [receipt.state for receipt in receipts] == ["failed", "failed", "sent"]
    assert not any("anne" in receipt.detail for receipt in receipts)


# --- the local outbox ---


def test_the_same_key_is_delivered_once(tmp_path: Path) -> None:
    """A second sending of a key says sent and leaves the first content where it was."""
    outbox = LocalOutbox(tmp_path)
    assert _send(outbox, body="first").state == "sent"
    assert _send(outbox, body="second").state == "sent"
    (path,) = _files(tmp_path)
    assert path == tmp_path / "email" / "2026-05-04" / "d-01-0.eml"
    assert "first" in _read(path.read_bytes()).get_content()


def test_a_message_has_its_name_once_it_is_durable_and_the_name_is_made_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is synced, then linked, then its folder is synced, and only then is it settled."""
    outbox, done = LocalOutbox(tmp_path), list[str]()
    assert _send(outbox, key="first").state == "sent"  # so that the folders are there
    fsync, link = os.fsync, os.link

    def synced(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append("folder synced" if is_folder else "file synced")
        fsync(descriptor)

    def linked(source: str, target: str) -> None:
        done.append("linked")
        link(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    assert _send(outbox).state == "sent"
    assert done == ["file synced", "linked", "folder synced"]
    done.clear()
    found = asyncio.run(outbox.lookup("d-01-0", SENT_AT))
    assert found is not None
    assert done == ["folder synced"]  # whoever linked it may have died before that


def test_many_senders_of_one_key_leave_one_file(tmp_path: Path) -> None:
    """Threads that race for a key all hear sent, and one whole file is there."""
    outbox, heard = LocalOutbox(tmp_path), list[Receipt]()
    threads = [
        Thread(target=lambda i=i: heard.append(_send(outbox, body=f"body {i}"))) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [receipt.state for receipt in heard] == ["sent"] * 8
    (path,) = _files(tmp_path)
    assert _read(path.read_bytes()).get_content().startswith("body ")


def test_other_channels_are_written_as_json(tmp_path: Path) -> None:
    """What is no e-mail lies under its channel, readable and complete."""
    assert _send(LocalOutbox(tmp_path), channel="sms", to="+491701", body="Grüße\n").state == "sent"
    (path,) = _files(tmp_path)
    assert path == tmp_path / "sms" / "2026-05-04" / "d-01-0.json"
    text = path.read_text(encoding="utf-8")
    assert "Grüße" in text
    assert json.loads(text) == {
        "key": "d-01-0",
        "channel": "sms",
        "to": "+491701",
        "sender": "The Shop <hello@shop.example>",
        "subject": "Your basket is waiting",
        "body": "Grüße\n",
        "headers": {},
        "sent_at": "2026-05-04T23:30:00+00:00",
    }


@pytest.mark.parametrize("changed", [{"subject": "a\nb"}, {"body": "\ud83d"}, {"key": "../k"}])
def test_json_is_guarded_alike(tmp_path: Path, changed: dict[str, Any]) -> None:
    """The rules of one line, of text and of paths hold for every channel."""
    assert _send(LocalOutbox(tmp_path / "outbox"), channel="sms", **changed).state == "failed"
    assert not (tmp_path / "outbox").exists()


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    """Every folder is 0700 and every file 0600, from the moment they exist."""
    outbox = tmp_path / "home" / "outbox"
    assert _send(LocalOutbox(outbox)).state == "sent"
    folders = [outbox.parent, outbox, *(path for path in outbox.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in _files(outbox)} == {0o600}


def test_days_are_counted_in_utc(tmp_path: Path) -> None:
    """A message lies under the day it was sent in UTC, and is found from any zone's clock."""
    outbox = LocalOutbox(tmp_path)
    assert _send(outbox).state == "sent"
    elsewhere = SENT_AT.astimezone(datetime.strptime("+0900", "%z").tzinfo)
    found = asyncio.run(outbox.lookup("d-01-0", elsewhere))
    assert found is not None
    assert found.state == "sent"


def test_lookup_knows_what_was_sent(tmp_path: Path) -> None:
    """A file that is there was sent, on any channel; one that is not was not."""
    outbox = LocalOutbox(tmp_path / "outbox")
    assert asyncio.run(outbox.lookup("d-01-0", SENT_AT)) is None
    assert _send(outbox, channel="sms").state == "sent"
    found = asyncio.run(outbox.lookup("d-01-0", SENT_AT))
    assert found is not None
    assert found.state == "sent"
    assert asyncio.run(outbox.lookup("d-01", SENT_AT)) is None
    assert asyncio.run(outbox.lookup("../sms/d-01-0", SENT_AT)) is None
    assert asyncio.run(outbox.lookup("d-01-0", SENT_AT + timedelta(days=1))) is None


_DIES_BEFORE_THE_LINK = """
import asyncio, os, pathlib, sys
from datetime import datetime
from tools.channels.channel import Message
from tools.channels.local import LocalOutbox
os.link = lambda *_: os._exit(9)
outbox = LocalOutbox(pathlib.Path(sys.argv[1]))
asyncio.run(outbox.send(Message(
    "d-01-0", "email", "anne@example.org", "hello@shop.example", "s", "b", {},
    datetime.fromisoformat(sys.argv[2]))))
outbox.settle()
"""


def test_a_process_that_dies_before_the_link_has_sent_nothing(tmp_path: Path) -> None:
    """What it left is no message, and asking for its key removes it: nothing personal stays."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", _DIES_BEFORE_THE_LINK, str(tmp_path), SENT_AT.isoformat()]
    assert subprocess.run(command, cwd=root, check=False).returncode == 9
    (left,) = _files(tmp_path)
    assert left.suffix == ".part"
    assert asyncio.run(LocalOutbox(tmp_path).lookup("d-01-0", SENT_AT)) is None
    assert _files(tmp_path) == []


def test_a_slow_sender_cannot_send_after_lookup_said_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where lookup answers that nothing was sent, the sender it overtook cannot record it."""
    outbox, link, answers = LocalOutbox(tmp_path), os.link, list[Receipt | None]()

    def overtaken(source: str, target: str) -> None:
        thread = Thread(
            target=lambda: answers.append(asyncio.run(outbox.lookup("d-01-0", SENT_AT)))
        )
        thread.start()
        thread.join()
        link(source, target)

    monkeypatch.setattr(os, "link", overtaken)
    with pytest.raises(DeliveryUnknown, match="may not be there"):
        _send(outbox)
    with pytest.raises(DeliveryUnknown):  # nor later: nothing more is recorded by this process
        outbox.settle()
    assert answers == [None]
    assert _files(tmp_path) == []


def test_a_full_disk_fails_and_leaves_nothing(tmp_path: Path) -> None:
    """A write that breaks off halfway is no message and no remainder."""
    outbox = LocalOutbox(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        receipt = _send(outbox, body="x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert receipt.state == "failed"
    assert "cannot be written" in receipt.detail
    assert _files(tmp_path) == []
    assert _send(outbox).state == "sent"


def test_a_folder_that_is_none_fails(tmp_path: Path) -> None:
    """Where a file stands in the folder's place, the message is failed, not raised."""
    (tmp_path / "outbox").write_text("in the way")
    outbox = LocalOutbox(tmp_path / "outbox")
    assert _send(outbox).state == "failed"
    assert asyncio.run(outbox.lookup("d-01-0", SENT_AT)) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read anywhere")
def test_a_locked_folder_fails_and_lookup_admits_ignorance(tmp_path: Path) -> None:
    """Without permission nothing is sent, and what cannot be read is not called unsent."""
    outbox = LocalOutbox(tmp_path)
    assert _send(outbox).state == "sent"
    day = tmp_path / "email" / "2026-05-04"
    day.chmod(0o000)
    try:
        assert _send(outbox, key="k2").state == "failed"
        found = asyncio.run(outbox.lookup("d-01-0", SENT_AT))
    finally:
        day.chmod(0o700)
    assert found is not None
    assert found.state == "unknown"


# --- SMTP ---


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


def test_the_envelope_holds_the_two_addresses(mailbox: Mailbox) -> None:
    """A message goes from its sender to its one recipient, and the receipt keeps the reply."""
    with _serving(mailbox) as port:
        receipt = _send(_smtp(port))
    assert mailbox.envelopes == [("hello@shop.example", ["anne@example.org"])]
    assert receipt == Receipt("sent", "250 OK queued as Q1", "OK queued as Q1")


def test_an_address_beyond_ascii_needs_a_server_that_takes_it(mailbox: Mailbox) -> None:
    """It is sent as it is where the server can, and failed where it cannot."""
    with _serving(mailbox) as port:
        assert _send(_smtp(port), to="änne@köln.example").state == "sent"
    assert mailbox.envelopes[0][1] == ["änne@köln.example"]
    with _talking(["220 hi", "250 hello"]) as port:
        receipt = _send(_smtp(port), to="änne@köln.example")
    assert (receipt.state, "beyond ASCII" in receipt.detail) == ("failed", True)


@pytest.mark.parametrize(
    ("changed", "data_reply", "code"),
    [
        ({"to": "nobody@example.org"}, "250 OK", "550"),
        ({"sender": "banned@shop.example"}, "250 OK", "550"),
        ({}, "554 5.7.1 smells of spam, anne@example.org", "554"),
        ({}, "451 try later", "451"),
    ],
    ids=["recipient", "sender", "content", "temporary"],
)
def test_a_refusal_is_failed(
    mailbox: Mailbox, changed: dict[str, Any], data_reply: str, code: str
) -> None:
    """What the server refused was not delivered; its words are kept without the address."""
    mailbox.data_reply = data_reply
    with _serving(mailbox) as port:
        receipt = _send(_smtp(port), **changed)
    assert receipt.state == "failed"
    assert code in receipt.detail
    assert "@" not in receipt.detail
    assert mailbox.raw == []


def test_nobody_listening_is_failed() -> None:
    """A connection that was refused sent nothing."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer there
        assert _send(_smtp(taken.getsockname()[1])).state == "failed"


Script = list[str | None]
"""A server's replies in order: None says nothing and waits, `!` closes the connection."""


@contextmanager
def _talking(script: Script) -> Iterator[int]:
    """A server that says exactly this, for what no proper server does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=_talk, args=(listener, script))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def _talk(listener: socket.socket, script: Script) -> None:
    peer, _ = listener.accept()
    with peer, peer.makefile("rwb") as stream:
        for reply in script:
            if reply is None:
                stream.read()  # until the client gives up
                return
            if reply == "!":
                return
            stream.write(reply.encode() + b"\r\n")
            stream.flush()
            _hear(stream, whole=reply.startswith("354"))


def _hear(stream: Any, *, whole: bool) -> None:
    line = stream.readline()
    while whole and line not in (b".\r\n", b""):
        line = stream.readline()


_UNTIL_DATA: Script = ["220 hi", "250 hello", "250 sender", "250 recipient"]


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ([None], "failed"),
        (["!"], "failed"),
        (["554 no service"], "failed"),
        (["220 hi", None], "failed"),
        (["220 hi", "250 hello", "!"], "failed"),
        (["220 hi", "250 hello", "250 sender", None], "failed"),
        (["220 hi", "250 hello", "250 sender", "421 shutting down"], "failed"),
        (["220 hi", "250 hello", "250 sender", "nonsense"], "failed"),
        ([*_UNTIL_DATA, "452 full"], "failed"),
        ([*_UNTIL_DATA, None], "unknown"),
        ([*_UNTIL_DATA, "!"], "unknown"),
        ([*_UNTIL_DATA, "354 go", None], "unknown"),
        ([*_UNTIL_DATA, "354 go", "!"], "unknown"),
        ([*_UNTIL_DATA, "354 go", "nonsense"], "unknown"),
        ([*_UNTIL_DATA, "354 go", "299 strange"], "unknown"),
        ([*_UNTIL_DATA, "354 go", "554 no"], "failed"),
        ([*_UNTIL_DATA, "354 go", "250 taken", None], "sent"),
        ([*_UNTIL_DATA, "354 go", "250 taken", "!"], "sent"),
    ],
)
def test_doubt_begins_with_the_content_and_ends_with_the_reply(script: Script, state: str) -> None:
    """Before DATA a fault is failed, after it unknown, and what was accepted stays sent."""
    with _talking(script) as port:
        receipt = _send(_smtp(port, timeout=0.2))
    assert receipt.state == state
    assert receipt.detail


def test_a_connection_dropped_amid_the_content_is_unknown() -> None:
    """A server that vanishes while the message flows may have kept it."""

    async def vanish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in ["220 hi", "250 hello", "250 sender", "250 recipient", "354 go"]:
            writer.write(reply.encode() + b"\r\n")
            await reader.readline()
        writer.transport.abort()

    receipt = asyncio.run(_against(vanish, _message(body="x" * 1_000_000)))
    assert receipt.state == "unknown"


async def _against(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], message: Message
) -> Receipt:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        return await _smtp(server.sockets[0].getsockname()[1]).send(message)


def test_a_login_is_accepted_on_this_machine(mailbox: Mailbox) -> None:
    """A password may pass unencrypted where it does not leave the machine."""
    with _serving(mailbox, auth_require_tls=False) as port:
        assert _send(_smtp(port, username="shop", password=PASSWORD)).state == "sent"
    assert mailbox.passwords == [PASSWORD]


def test_a_wrong_password_is_failed_and_never_shown(mailbox: Mailbox) -> None:
    """The receipt names the remedy and not the secret."""
    with _serving(mailbox, auth_require_tls=False) as port:
        receipt = _send(_smtp(port, username="shop", password="hunter2"))
    assert receipt.state == "failed"
    assert "SAFECONDUCT_SMTP_PASSWORD" in receipt.detail
    assert "hunter2" not in receipt.detail
    assert mailbox.raw == []


@pytest.mark.parametrize("reply", ["535 you said hunter2", "hunter2", "250 hunter2"])
def test_a_server_cannot_make_us_repeat_the_password(reply: str) -> None:
    """Whatever a server answers to a login, its words are not kept."""
    with _talking(["220 hi", "250-hello\r\n250 AUTH PLAIN", reply]) as port:
        receipt = _send(_smtp(port, username="shop", password="hunter2", timeout=0.5))
    assert receipt.state == "failed"
    assert "hunter2" not in receipt.detail
    assert "hunter2" not in repr(receipt)


def test_a_username_without_password_is_failed(mailbox: Mailbox) -> None:
    """A forgotten variable is named before anything is sent."""
    with _serving(mailbox) as port:
        receipt = _send(_smtp(port, username="shop"))
    assert (receipt.state, "SAFECONDUCT_SMTP_PASSWORD" in receipt.detail) == ("failed", True)


def _address_beyond_loopback() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # chooses a route; nothing is sent
        except OSError:
            return None
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("starttls", [None, False])
def test_a_password_does_not_leave_the_machine_unencrypted(
    mailbox: Mailbox, starttls: bool | None
) -> None:
    """A server without STARTTLS, or one stripped of it on the way, gets no password."""
    host = _address_beyond_loopback()
    if host is None:
        pytest.skip("this machine has no address but loopback")
    with _serving(mailbox, host=host, auth_require_tls=False) as port:
        channel = _smtp(port, host=host, username="shop", password=PASSWORD, starttls=starttls)
        receipt = _send(channel)
    assert receipt.state == "failed"
    assert "unencrypted; set `starttls = true`" in receipt.detail
    assert (mailbox.passwords, mailbox.raw) == ([], [])


def test_required_tls_that_is_not_offered_is_failed(mailbox: Mailbox) -> None:
    """`starttls = true` never falls back to plain text."""
    with _serving(mailbox) as port:
        receipt = _send(_smtp(port, starttls=True))
    assert (receipt.state, "STARTTLS" in receipt.detail) == ("failed", True)
    assert mailbox.raw == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, secret.public_key(), 1)
    builder = builder.not_valid_before(datetime(2000, 1, 1)).not_valid_after(datetime(2100, 1, 1))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    signed = builder.add_extension(names, critical=False).sign(secret, hashes.SHA256())
    chain, key = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, key


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_is_used_where_offered_and_only_with_a_valid_certificate(
    mailbox: Mailbox,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    trusted: bool,
) -> None:
    """Opportunistic encryption still checks whom it speaks with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with _serving(mailbox, tls_context=context, require_starttls=True, auth_required=True) as port:
        receipt = _send(_smtp(port, host="localhost", username="shop", password=PASSWORD))
    assert receipt.state == ("sent" if trusted else "failed")
    assert trusted or "certificate is not valid" in receipt.detail
    assert len(mailbox.raw) == len(mailbox.passwords) == trusted


def test_an_smtp_server_cannot_be_asked() -> None:
    """Nobody is told that an interrupted e-mail was not sent."""
    channel = _smtp(1)
    found = asyncio.run(channel.lookup("d-01-0", SENT_AT))
    assert channel.recovery == "none"
    assert found is not None
    assert found.state == "unknown"
