"""The SQL engine on a live SqlServer, when `FSSTORE_TEST_MSSQL_URL` names an empty database that the tests may fill."""

from __future__ import annotations

import os

import pytest
from server_conformance import LiveServerConformance

URL = os.environ.get("FSSTORE_TEST_MSSQL_URL", "")


@pytest.mark.skipif(not URL, reason="no server: set FSSTORE_TEST_MSSQL_URL")
class TestSqlServer(LiveServerConformance):
    url = URL
