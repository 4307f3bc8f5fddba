"""`twistd napindex`: who is online, what they share, what matches a search, who holds a content.

docs/explanation/index.md tells how the parts work together.
"""
