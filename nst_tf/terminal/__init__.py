"""The command line: flags, a bar, files written, exit codes."""
