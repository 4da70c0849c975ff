"""Where everything is kept: the journal of events, jobs, deliveries, settings, secrets."""
