"""Calls in: who is answered, how somebody proves who they are, and whom they reach."""
