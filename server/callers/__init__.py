"""The recorded lines of the demo's caller: data only, made by `scripts/make_callers.py`."""
