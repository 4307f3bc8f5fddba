"""The downloading side: the queue's commands, which downloads run, their sources, the fetching end of peer links."""
