"""The SQL engine on MariaDB keeps every promise, with several engines on one database."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from server_conformance import OwnServerConformance


class TestMariaDB(OwnServerConformance):
    # PyMySQL would read every certificate of the machine for each connection: 50 ms, half of a short test.
    engine_options: ClassVar[dict[str, Any]] = {"connect_args": {"ssl_disabled": True}}

    @pytest.fixture
    def databases(self, mariadb_databases: Any) -> Any:
        return mariadb_databases
