"""The SQL engine on PostgreSQL keeps every promise, with several engines on one database."""

from __future__ import annotations

from typing import Any

import pytest
from server_conformance import OwnServerConformance


class TestPostgreSQL(OwnServerConformance):
    @pytest.fixture
    def databases(self, postgresql_databases: Any) -> Any:
        return postgresql_databases
