"""A simulated Replicate: REST API, signed webhooks, output files, faults on request."""
