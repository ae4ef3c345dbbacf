"""The job as a whole: its plan, its files, its preview and its summary."""
