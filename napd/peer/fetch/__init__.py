"""The downloading side: the queue's commands and turns, running downloads, and the fetching end of peer links."""
