"""What is on the disk: every file operation, partial and finished files, and the journal of the queue."""
