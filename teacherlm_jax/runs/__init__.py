"""Run folders, and the processes that share one."""
