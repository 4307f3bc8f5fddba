"""How bytes travel: identity, TLS, dialling, links."""
