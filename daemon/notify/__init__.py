"""Outgoing webhooks: what happened here is told to whoever asked for it."""
