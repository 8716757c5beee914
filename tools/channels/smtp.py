"""Delivers e-mail to an SMTP server, and knows from which command on nobody can be sure."""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from datetime import datetime
from ipaddress import ip_address

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPNotSupported,
    SMTPResponseException,
    SMTPTimeoutError,
)

from domain.errors import DeliveryError, DeliveryUnknown
from tools.channels.channel import Message, Receipt
from tools.channels.mail import compose, parted
from tools.toolbox import Recovery

PORT_TLS = 465
"""Where TLS begins with the connection (RFC 8314 §3.3)."""

GOODBYE_SECONDS_MAX = 2.0
REPLY_CHARACTERS_MAX = 200
_ADDRESS = re.compile(r"\S*@\S*")


class SmtpChannel:
    """One connection a message: slow and simple, and no message shares another's fate.

    Args:
        host: the server's name, which its certificate must bear.
        port: 465 for TLS from the start, unless `starttls` is given.
        username: None to send without logging in.
        password: never written anywhere, nor sent unencrypted beyond this machine.
        starttls: None uses it where the server offers it.
        timeout: seconds to wait for any one reply.
    """

    __slots__ = ("_host", "_local_name", "_password", "_port", "_starttls", "_timeout", "_username")

    name = "smtp"
    recovery: Recovery = "none"

    def __init__(
        self,
        *,
        host: str,
        port: int,
        username: str | None,
        password: str | None,
        starttls: bool | None,
        timeout: float,
    ) -> None:
        self._host = host
        self._port = port
        self._username = username
        self._password = password
        self._starttls = starttls
        self._timeout = timeout
        self._local_name: str | None = None

    async def send(self, message: Message) -> Receipt:
        """Hand it to the server: `unknown` where it may have been taken and the reply was lost."""
        client = self._client()
        try:
            content = compose(message).as_bytes()
            await self._open(client)
            await _address(client, parted(message.sender)[1], message.to)
            reply = await _hand_over(client, content)
        except DeliveryUnknown as error:
            return Receipt("unknown", str(error))
        except DeliveryError as error:
            return Receipt("failed", str(error))
        except Exception as error:  # noqa: BLE001 - before the content left, nothing was sent
            return Receipt("failed", _reason(error))
        else:
            await _say_goodbye(client, min(self._timeout, GOODBYE_SECONDS_MAX))
            return Receipt("sent", f"250 {reply}", reply)
        finally:
            client.close()

    async def lookup(self, key: str, sent_at: datetime) -> Receipt | None:
        """A server cannot be asked."""
        return Receipt("unknown", "an SMTP server cannot be asked what it has sent")

    def _client(self) -> SMTP:
        from_the_start = self._port == PORT_TLS and self._starttls is None
        return SMTP(
            hostname=self._host,
            port=self._port,
            timeout=self._timeout,
            local_hostname=self._local_name,
            use_tls=from_the_start,
            start_tls=False if from_the_start else self._starttls,
        )

    async def _open(self, client: SMTP) -> None:
        await client.connect()
        # Finding this machine's own name may ask a name server: once is enough.
        self._local_name = client.local_hostname
        if self._username is None:
            return
        if self._password is None:
            raise DeliveryError(
                "`username` is set but there is no password",
                remedy="set `SAFECONDUCT_SMTP_PASSWORD`, or remove `username`",
            )
        if not _private(client):
            raise DeliveryError(
                "the password would travel unencrypted",
                remedy="set `starttls = true`, or use a server that offers STARTTLS",
            )
        try:
            await client.login(self._username, self._password)
        except SMTPResponseException as error:
            # A reply's text may repeat what was sent: only its code is shown.
            raise DeliveryError(
                f"the server refused the login with {error.code}",
                remedy="check `username` and `SAFECONDUCT_SMTP_PASSWORD`",
            ) from None


def _private(client: SMTP) -> bool:
    """Whether nobody on the way can read along: asked of the connection, not of the settings."""
    if client.get_transport_info("sslcontext") is not None:
        return True
    peer = client.get_transport_info("peername")
    return ip_address(str(peer[0]).partition("%")[0]).is_loopback


async def _address(client: SMTP, sender: str, to: str) -> None:
    """Name both ends. A refusal here means that nothing was sent."""
    if (sender + to).isascii():
        await client.mail(sender)
        await client.rcpt(to)
        return
    if client.is_ehlo_or_helo_needed:
        await client.ehlo()
    if not client.supports_extension("smtputf8"):
        raise SMTPNotSupported("addresses beyond ASCII")
    await client.mail(sender, options=["SMTPUTF8"], encoding="utf-8")
    await client.rcpt(to, encoding="utf-8")


async def _hand_over(client: SMTP, content: bytes) -> str:
    """Send the content. Only the server's refusal proves that it was not taken."""
    if not client.is_connected:
        raise DeliveryError("the server closed the connection before the message was sent")
    try:
        response = await client.data(content)
    except SMTPResponseException as error:
        if 400 <= error.code <= 599:
            raise
        raise DeliveryUnknown(f"the server's reply makes no sense: {_reply(error)}") from None
    except SMTPTimeoutError:
        raise DeliveryUnknown("the server took the message and did not reply in time") from None
    except Exception as error:  # noqa: BLE001 - whatever broke, the content may have arrived
        raise DeliveryUnknown(
            f"the connection broke after the message began: {type(error).__name__}"
        ) from None
    return _shown(response.message)


async def _say_goodbye(client: SMTP, timeout: float) -> None:
    """Part in order; the message is accepted, whatever becomes of this."""
    with suppress(SMTPException, OSError):
        await client.quit(timeout=timeout)


def _reason(error: Exception) -> str:
    """Why nothing was sent, without a secret or an address in it."""
    match error:
        case SMTPResponseException():
            return f"the server refused: {_reply(error)}"
        case SMTPNotSupported():
            return "the server does not support addresses beyond ASCII"
        case ssl.SSLCertVerificationError():
            return f"the server's certificate is not valid: {error.verify_message}"
        case SMTPTimeoutError():
            return "the server did not reply in time, and the message had not been sent"
        case _:
            return f"the server could not be used: {_shown(str(error)) or type(error).__name__}"


def _reply(error: SMTPResponseException) -> str:
    return f"{error.code} {_shown(error.message)}"


def _shown(text: str) -> str:
    """A server's words, short and printable; addresses in them would be kept for ever."""
    words = _ADDRESS.sub("(address)", " ".join(text.split()))
    return "".join(c if c.isprintable() else "?" for c in words)[:REPLY_CHARACTERS_MAX]
