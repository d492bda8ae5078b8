"""Measurements, printed by scripts/bench; never asserted in tests."""
