"""What a call costs, measured against a bare echo server in the same run. Never a test: machines differ."""
