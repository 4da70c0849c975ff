"""One file per destination; each is found by being here."""
