"""What this machine is, and what a run will take of it."""
