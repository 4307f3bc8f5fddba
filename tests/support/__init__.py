"""What tests share: real processes, in-memory links, clocks, waiting."""
