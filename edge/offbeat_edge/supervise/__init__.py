"""What keeps the daemon honest: proof of work, probes, models that come and go."""
