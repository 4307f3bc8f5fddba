"""The SQL scripts that make and upgrade the store: N.sql makes version N from version N - 1."""
