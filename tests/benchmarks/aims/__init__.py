"""`make bench-transfer`: napd beside what people use, and beside what it is meant to reach.

Each part measures in turns (A B A B …) on 127.0.0.1 with real processes, and fills rows: one figure with its aim. What
is not installed is named and skipped. docs/explanation/performance.md tells what is measured and how to read it.
"""
