"""Untrusted files: child processes with limits turn them into clean pictures or checked LoRAs.

`pool` is the bot's side, `child` the process. What a child may do to the machine is set by `limits`;
what it does to a file stands in `pictures` (with `png`, `jpeg`, `webp` for the headers).
"""
