"""Configuration of what stands around the daemon: proxies and systemd. Facts in, text out; deploy/ holds copies."""
