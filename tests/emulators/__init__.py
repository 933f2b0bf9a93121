"""Vendors of speech engines, emulated on the loopback."""
