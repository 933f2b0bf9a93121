"""Whole calls through the shell: who speaks when, what it costs, how each of them ends."""
