"""The bytes of headers, payloads and snapshots, in the form of the rows that a store holds already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fsstore.errors import SerializationError
from fsstore.model import EventMessage
from fsstore.serialization.neventstore import forms
from fsstore.serialization.neventstore.forms import Form, Notation
from fsstore.serialization.neventstore.payloads import NEventStorePayloads
from fsstore.serialization.neventstore.type_names import TypeNames
from fsstore.serialization.neventstore.writing import JsonWriter

_JSON = (Notation.NEWTONSOFT_JSON, Notation.SYSTEM_JSON)


class PayloadWriter:
    """Writes like the `samples`, stored payloads of which the first says the form; without any, Newtonsoft's JSON,
    and encrypted when a key is given. `SerializationError` when they are not JSON: C# reads one notation only."""

    def __init__(self, payloads: NEventStorePayloads, samples: Iterable[bytes]) -> None:
        self._form = Form(Notation.NEWTONSOFT_JSON, encrypted=bool(payloads.keys))
        trees = []
        for number, sample in enumerate(samples):
            form, tree = payloads.tree(sample)
            trees.append(tree)
            if number == 0:
                self._form = form
        if self._form.notation not in _JSON:
            raise SerializationError(
                f"the rows of this store are {self._form}: C# could not read JSON among them, so none is written"
            )
        names = TypeNames(payloads.types, qualified=self._form.notation is Notation.SYSTEM_JSON)
        for tree in trees:
            names.learn(tree)
        self._keys = payloads.keys
        self._json = JsonWriter(self._form.notation, payloads.types, names)

    def commit(self, headers: dict[str, Any], events: Sequence[EventMessage]) -> tuple[bytes, bytes]:
        """What stands in `Headers` and `Payload` of a commit's row."""
        return self._wrapped(self._json.headers(headers)), self._wrapped(self._json.events(events))

    def snapshot(self, payload: Any) -> bytes:
        """What stands in `Payload` of a snapshot's row."""
        return self._wrapped(self._json.snapshot(payload))

    def _wrapped(self, plain: bytes) -> bytes:
        data = forms.deflated(plain) if self._form.deflated else plain
        return forms.encrypted(data, self._keys[0]) if self._form.encrypted else data
