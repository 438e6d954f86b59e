"""What people see in Discord: commands, status lines, results and their buttons."""
