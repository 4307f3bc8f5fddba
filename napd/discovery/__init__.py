"""Who has what, seen from a peer: one interface, one implementation (the index client); more ways may come."""
