"""SQL scripts, one per version of the schema."""
