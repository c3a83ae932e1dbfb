"""Verification: read every byte that matters, say what is damaged, and what that puts at risk. Changes nothing.

It works beside writers: folded files are looked at under the fold lock, a directory of streams at a time, and the
journal only up to what is visible. What an interrupted fold left, what a torn tail holds and what is about to be
deleted is not damage. Nothing in here knows how anything is repaired.
"""

from __future__ import annotations

from fsstore.engines.file.verify.finding import Finding
from fsstore.engines.file.verify.verification import Progress, verify

__all__ = ["Finding", "Progress", "verify"]
