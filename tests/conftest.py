"""What every test gets. Fixtures live beside what they serve; this file names where."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.no_skips", "tests.postgres", "tests.databases", "tests.dealing"]

# `make test` runs reduced counts; `make soak` asks for the full ones with --hypothesis-profile=soak.
settings.register_profile("default", deadline=None, max_examples=60, derandomize=True)
settings.register_profile(
    "soak", deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")
