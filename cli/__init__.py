"""The subcommands of bot.py, one module each, and what they share."""
