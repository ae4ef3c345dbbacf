"""The command line: a verb, a config file, and overrides become one call."""
