"""The shared store: one PostgreSQL for any number of index processes. Needs the extra ``napd[postgres]``."""
