"""Service levels: objectives, measured values, and how much of the time they cover.

Data flows one way: ``series`` (samples) → ``spans`` (down and unknown time) and ``aggregates`` (counts and
latencies per day) → ``evaluate`` (one document per host and period) → reports, metrics, the command line. Only
``store`` and ``exchange`` read the history; all the arithmetic is pure.
"""
