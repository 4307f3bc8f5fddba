"""What is said: the messages of the three protocols, their bounds and their legal order.

Sans-IO: no Twisted, no clock, no files. docs/reference/ describes the same for other implementers.
"""
