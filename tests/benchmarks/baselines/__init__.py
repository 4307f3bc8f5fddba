"""The same work without napd, each as a program of its own: what the machine, the disk, TLS and hashing cost alone."""
