"""What the index does with many peers and their files, beside what is aimed at: `make bench-index`."""
