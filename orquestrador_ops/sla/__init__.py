"""Service levels: what was promised, what was measured, and how much of it is known.

Data flows one way: ``series`` (samples) → ``spans`` (when it was down, when nobody looked) and ``cells`` (counts and
latencies per day) → ``evaluate`` (one document per host and period) → reports, metrics, the command line. Nothing but
``store`` and ``exchange`` knows the history; all the arithmetic is pure.
"""
