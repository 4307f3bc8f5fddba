"""Other peers as sources: who could serve, how to reach them, what they have given, and which is best."""
