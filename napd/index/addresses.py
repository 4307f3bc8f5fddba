"""Addresses of peers: which may be one at all, and which mean something to whom."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from ..errors import Misuse
from ..net.dial import join_address, split_address

#: Names and numbers as they are dialled, zone indices of link-local addresses among them.
_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,253}")


def candidates(host: str, port: int, advertised: Iterable[str]) -> tuple[str, ...]:
    """HOST:PORTs at which a peer may be reached, the observed host first, each once.

    What is loopback for a peer elsewhere is not to be dialled: here it is something else.


    :param host: as the index sees the peer.
    :param port: where the peer listens; 0: nowhere, so only advertised addresses with a port of their own are left.
    """
    found = [join_address(plain_host(host), port)] if port else []
    for text in advertised:
        try:
            advertised_host, advertised_port = split_address(text, port or None)
        except Misuse:
            continue
        is_elsewhere = is_loopback(advertised_host) and not is_loopback(host)
        if _HOST.fullmatch(advertised_host) and not _is_nowhere(advertised_host) and not is_elsewhere:
            found.append(join_address(plain_host(advertised_host), advertised_port))
    return tuple(dict.fromkeys(found))


def fit_for(addresses: Iterable[str], *, local: bool) -> tuple[str, ...]:
    """Those that mean something to an asker: loopback ones only to one on loopback, and to that one first."""
    addresses = list(addresses)
    loopback = [address for address in addresses if is_loopback(split_address(address)[0])]
    others = [address for address in addresses if address not in loopback]
    return tuple(loopback + others if local else others)


def origin(host: str) -> str:
    """Who counts as one: an IPv4 address, or the 64 bits that an IPv6 customer has to choose addresses from."""
    number = _number(host.partition("%")[0])
    return str(ip_network((number, 64), strict=False)) if isinstance(number, IPv6Address) else host


def is_loopback(host: str) -> bool:
    number = _number(host)
    return host.rstrip(".").lower() == "localhost" if number is None else number.is_loopback


def plain_host(host: str) -> str:
    """An IPv4 address that came in over an IPv6 socket, as IPv4; anything else as it is."""
    number = _number(host)
    mapped = number.ipv4_mapped if isinstance(number, IPv6Address) else None
    return host if mapped is None else str(mapped)


def _is_nowhere(host: str) -> bool:
    number = _number(host)
    return number is not None and (number.is_unspecified or number.is_multicast)


@lru_cache(maxsize=4096)
def _number(host: str) -> IPv4Address | IPv6Address | None:
    try:
        number = ip_address(host)
    except ValueError:
        return None
    if isinstance(number, IPv6Address) and number.ipv4_mapped is not None and number.ipv4_mapped.is_loopback:
        return number.ipv4_mapped
    return number
