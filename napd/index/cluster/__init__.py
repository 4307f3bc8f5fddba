"""Several processes as one index: what happens at one is followed by all, through the store that they share."""
