"""What somebody waits for: wishes that stand, and what was found for them."""
