"""A small web service over a store: one stream an order, retries made harmless by the client's own id.

pip install 'fsstore[aio]' fastapi uvicorn
uvicorn fastapi_orders:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, Header, HTTPException, Request

import fsstore


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with fsstore.open_async(os.environ.get("ORDERS_STORE", "orders.store")) as store:
        app.state.store = store
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{order_id}/lines", status_code=201)
async def add_line(
    order_id: str, line: dict[str, Any], request: Request, idempotency_key: Annotated[UUID, Header()]
) -> dict[str, int]:
    """Add a line. The same Idempotency-Key again changes nothing and answers the same."""
    store: fsstore.AsyncEventStore = request.app.state.store
    stream = await store.open_stream(order_id)
    while True:
        stream.add({**line, "type": "line added"})
        try:
            await stream.commit_changes(idempotency_key)
        except fsstore.DuplicateCommitError:
            break
        except fsstore.ConcurrencyError:
            # Somebody else was first: the stream has read what is new, so decide again.
            stream.clear_changes()
            continue
        return {"lines": stream.stream_revision}
    stored = [commit async for commit in store.get_from(order_id) if commit.commit_id == idempotency_key]
    return {"lines": stored[0].stream_revision}


@app.get("/orders/{order_id}")
async def read_order(order_id: str, request: Request) -> dict[str, Any]:
    """The order as its events tell it."""
    try:
        stream = await request.app.state.store.open_stream(order_id, min_revision=1)
    except fsstore.StreamNotFoundError as error:
        raise HTTPException(404, str(error)) from error
    return {"order": order_id, "lines": [event.body for event in stream.committed_events]}
