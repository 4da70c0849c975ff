"""What keeps the stored data in order: backup, restore, prune, move to another store, verify, rebuild."""
