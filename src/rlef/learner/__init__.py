"""Policy, critic and reference, and the update that trains them. Start at ``update.py``."""
