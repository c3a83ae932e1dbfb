"""The SQL engine on MariaDB keeps every promise, with several engines on one database."""

from __future__ import annotations

from typing import Any

import pytest
from server_conformance import OwnServerConformance


class TestMariaDB(OwnServerConformance):
    @pytest.fixture
    def databases(self, mariadb_databases: Any) -> Any:
        return mariadb_databases
