"""Starting the command in several processes: on this machine, on TPU slices, by schedulers."""
