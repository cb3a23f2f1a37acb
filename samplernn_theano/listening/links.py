"""The links of listeners: each has a token, made with the test or drawn from its server."""

import hmac
import ipaddress
import re
import secrets
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

LINKS = "links.txt"  # file in the folder of a test with the links of those who are invited


def new_links(listeners: int) -> str:
    """The text of a file of links; the server completes them with its address."""
    return "".join(f"?token={secrets.token_hex(8)}\n" for _ in range(listeners))


def complete(text: str, address: str) -> str:
    """The text of a file of links with the address of the server."""
    return re.sub(r"\S*\?token=", lambda _: f"{address}?token=", text)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a test: those of its links or, if it has none, those that its server draws."""

    test: str  # id of the test
    secret: bytes  # of the server
    invited: frozenset[str] = frozenset()

    def draw(self) -> str:
        """A new token, which tells when it was drawn."""
        return self._signed(f"{int(time.time()):x}-{secrets.token_hex(4)}")

    def admit(self, token: str) -> bool:
        """True if the token is that of a link, or was drawn from this server."""
        known = self.invited or {self._signed(token.rpartition("-")[0])}
        return any(hmac.compare_digest(token.encode(), one.encode()) for one in known)

    def _signed(self, head: str) -> str:
        return f"{head}-{hmac.digest(self.secret, f'{self.test} {head}'.encode(), 'sha256').hex()[:16]}"


def invited(text: str) -> frozenset[str]:
    """The tokens in the text of a file of links."""
    return frozenset(re.findall(r"\?token=([0-9a-f]+)", text))


def drawn_at(token: str) -> int | None:
    """When a token was drawn, in seconds since 1970; None if it is that of a link."""
    head, dash, _ = token.partition("-")
    return int(head, 16) if dash and re.fullmatch("[0-9a-f]{1,12}", head) else None


def address_of(host: str, port: int) -> str:
    """The address for a browser of a server that is bound to `host`."""
    any_host = {"": ["192.0.2.1"], "0.0.0.0": ["192.0.2.1"], "::": ["192.0.2.1", "2001:db8::1"]}
    if host in any_host:
        host = _own_address(any_host[host]) or ("::1" if host == "::" else "127.0.0.1")
    host = f"[{host.replace('%', '%25')}]" if ":" in host else host
    return f"http://{host}:{port}/"


def _own_address(others: Iterable[str]) -> str:
    """The address from which this machine would reach the first reachable other one; sends nothing."""
    for other in others:
        family = socket.AF_INET6 if ":" in other else socket.AF_INET
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((other, 9))
            return str(probe.getsockname()[0])
    return ""


def is_own(host: str, names: Iterable[str]) -> bool:
    """True if `host` of a request is an address or one of `names`.

    A page of another site reaches this server through a name of that site, never through an address.
    """
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return host in names
