"""What this peer offers: directories under a name, gone through, hashed, followed as they change, and catalogued."""
