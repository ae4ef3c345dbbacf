"""Starting the command in several processes: on this machine, or on every host of a TPU pod."""
