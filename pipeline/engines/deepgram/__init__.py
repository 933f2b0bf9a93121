"""Deepgram's engines. Each module speaks one of its protocols; none knows the call."""
