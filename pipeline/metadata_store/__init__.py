"""ML Metadata: the connection (SQLite, MySQL, PostgreSQL) and the locks."""
