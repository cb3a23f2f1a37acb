"""The links of listeners: each has a token, made with the test or drawn from its server."""

import hmac
import ipaddress
import re
import secrets
import socket
import time
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from samplernn_theano.utils.files import atomic_write

LINKS = "links.txt"  # file in the folder of a test with the links of those who are invited

ADDRESS = r"""https?://(\[[^]\s]+\]|[^]\s:/?#@"'<>,;[]+)(:\d{1,5})?(/[^\s?#"'<>,;]*)?"""
"""An address of a server of a listening test, as a regular expression: nothing that encloses links."""

_TYPED = (
    r"""(https?://([^\s/?#"'<>,;]+@)?|([\w.+-]+@)?)(\[[^]\s]+\]|[\w.-]+)(:\d{1,5})?"""
    r"""/((?!://)[^\s?#"'<>,;]|,(?=[^\s?#"'<>,;]))*"""
)
"""An address that somebody wrote into a file of links: without http://, with a user or commas."""


def new_links(listeners: int) -> str:
    """The text of a file of links; the server completes them with its address."""
    return "".join(f"?token={secrets.token_hex(8)}\n" for _ in range(listeners))


def complete(text: str, address: str) -> str:
    """The text of a file of links with the address of the server; what stands around a link stays."""
    link = rf"({ADDRESS}|{_TYPED})?\?token="
    return re.sub(link, lambda _: f"{address}?token=", text, flags=re.IGNORECASE)


def write_private(path: Path, text: str) -> None:
    """Write a file atomically that only its owner can read."""
    with atomic_write(path) as temporary:
        temporary.touch(0o600)
        temporary.write_bytes(text.encode(errors="surrogateescape"))


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


def address_of(host: str, bound: str, port: int) -> str:
    """The address for a browser of a server that was told to listen on `host` and is bound to `bound`."""
    address = ipaddress.ip_address(bound)
    any_host = getattr(address, "ipv4_mapped", None) or address
    if any_host.is_unspecified:
        others = ["192.0.2.1", *["2001:db8::1"] * (any_host.version == 6)]
        host = _own_address(others) or ("::1" if any_host.version == 6 else "127.0.0.1")
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


def ascii_name(host: str) -> str:
    """The name of a host as browsers send it: in lower case, other letters than ASCII in Punycode."""
    labels = unicodedata.normalize("NFKC", host).lower().rstrip(".").split(".")
    return ".".join(x if x.isascii() else f"xn--{x.encode('punycode').decode()}" for x in labels)


def is_own(host: str, names: Iterable[str]) -> bool:
    """True if `host` of a request is an address or one of `names`, however they are written.

    A page of another site reaches this server through a name of that site, never through an address.
    """
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    return ascii_name(host) in map(ascii_name, names)
