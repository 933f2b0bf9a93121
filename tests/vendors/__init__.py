"""Whole calls with the hosted engines, against the emulated vendors."""
