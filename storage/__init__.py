"""What must survive a restart: SQLite tables and picture files. SQL stays in here."""
