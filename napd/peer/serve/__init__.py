"""The uploading side: the serving end of peer links, whose turn it is, and what is served."""
