"""napd: Napster-style peer-to-peer file sharing for people who run daemons."""

__version__ = "0.1.0"
