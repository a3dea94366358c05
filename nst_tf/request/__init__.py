"""What is asked for: read, validated, in one table; standard library only."""
