"""One file per destination; each is found by being here. ``base.py`` says what such a file holds."""
