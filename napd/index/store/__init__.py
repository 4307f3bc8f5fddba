"""What the index remembers: accounts, catalogues and their items, behind one interface."""
