"""The command `status`: what runs are doing, from their files alone; nothing is written."""
