"""The service of docs/asyncio.md answers as it says, also when a request is repeated and when two race."""

from __future__ import annotations

import importlib.util
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

fastapi_testclient = pytest.importorskip("fastapi.testclient", reason="pip install fastapi httpx")
EXAMPLE = Path(__file__).parents[2] / "docs/examples/fastapi_orders.py"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("ORDERS_STORE", str(tmp_path / "orders.store"))
    spec = importlib.util.spec_from_file_location("fastapi_orders", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "fastapi_orders", module)
    spec.loader.exec_module(module)
    return module


def test_lines_are_added_once_a_key_and_read_back(example: ModuleType) -> None:
    keys = [str(uuid.uuid4()) for _ in range(3)]
    with fastapi_testclient.TestClient(example.app) as client:
        for number, key in enumerate(keys, 1):
            for _ in range(2):
                answer = client.post("/orders/1/lines", json={"article": number}, headers={"Idempotency-Key": key})
                assert (answer.status_code, answer.json()) == (201, {"lines": number})
        assert [line["article"] for line in client.get("/orders/1").json()["lines"]] == [1, 2, 3]
        assert client.get("/orders/2").status_code == 404


def test_requests_that_race_are_all_answered_and_stored_once(example: ModuleType) -> None:
    with fastapi_testclient.TestClient(example.app) as client, ThreadPoolExecutor(8) as threads:

        def add(number: int) -> int:
            headers = {"Idempotency-Key": str(uuid.uuid4())}
            return int(client.post("/orders/1/lines", json={"article": number}, headers=headers).status_code)

        assert list(threads.map(add, range(40))) == [201] * 40
        assert sorted(line["article"] for line in client.get("/orders/1").json()["lines"]) == list(range(40))
