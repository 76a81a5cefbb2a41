"""What people tell the fleet from a command line: feedback, and maintenance ahead of time."""
