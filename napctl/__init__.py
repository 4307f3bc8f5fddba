"""napctl: the command line of nappeer and napindex, over their control sockets. Imports no Twisted."""
