"""What a file is: chunks, their digests, the manifest and the content id. Pure."""
