"""What answers HTTP: receiver, API, pages, streams."""
