"""Every test here runs over our own TLS, over Twisted's, and between one and the other."""

from __future__ import annotations

import pytest

from tests.support.streams import DOCUMENTED, OWN, STOCK, carriers

PAIRS = {
    "own": (OWN, OWN),
    "stock": (STOCK, STOCK),
    "own-stock": (OWN, STOCK),
    "stock-own": (STOCK, OWN),
    "documented-own": (DOCUMENTED, OWN),
}


@pytest.fixture(autouse=True, params=PAIRS)
def carried(request: pytest.FixtureRequest) -> None:
    """What this test's links are carried by: what listens, what dials."""
    carriers.server, carriers.dialler = PAIRS[request.param]
