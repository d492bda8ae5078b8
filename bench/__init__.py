"""Measurements, printed by scripts/bench; never asserted in tests.

A measurement is a module of this package that is named in :data:`bench.__main__.NAMES`. It has

- ``figures(quick: bool) -> Iterable[Figure]``: figures of the table in docs/performance.md
  (:mod:`bench.figures`). They are printed, kept in bench/results/ and drawn. ``quick``: all of
  ``scripts/bench quick`` ends within three minutes, so each takes what is left to it: smaller
  files, fewer rounds, or nothing at all.
- or ``run() -> list[str]``: lines that are printed and not kept.

A figure belongs to a row of :mod:`bench.table`, which holds the bars. To add one: a module with
``figures``, its name in ``NAMES``, and where its row is new a line in ``bench.table``::

    def figures(quick: bool) -> Iterator[Figure]:
        yield Figure(12, "petal-s3 --version", tuple(seconds), "s")

What helps: ``process.used`` (CPU and wall of a child), ``rounds.Turns`` (rounds in turn,
start-ups taken off), ``sink.sink`` (the fast server), ``peers`` (the tools).
"""
