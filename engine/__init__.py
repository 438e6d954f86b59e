"""Requests, the queue, and the process that turns them into pictures."""
