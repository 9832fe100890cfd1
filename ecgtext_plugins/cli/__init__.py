"""Command line: one module a subcommand; each parses, calls, prints."""
