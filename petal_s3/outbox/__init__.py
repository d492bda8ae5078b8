"""One SQLite database with a row per log; imports ``logs`` and below; the only SQL."""
