"""The command `doctor`: the machine, its packages and devices, the folder of runs, and clocks."""
