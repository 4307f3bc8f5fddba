"""What napd's work costs on this machine, beside the same work without napd (`make bench`).

What is measured and how to read it is in docs/explanation/performance.md.
"""
