"""Errors nobody expected, counted by where they were caught. Whoever catches everything logs it, and counts it here.

Kept apart from the server's other metrics, which the pipeline knows nothing of.
"""

from __future__ import annotations

from prometheus_client import Counter

SURPRISES = Counter("callmeback_surprises", "Errors nobody expected, by where they were caught", ("where",))
