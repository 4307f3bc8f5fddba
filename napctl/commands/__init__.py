"""The commands, one module for each part of the vocabulary; each is imported only when it is used."""
