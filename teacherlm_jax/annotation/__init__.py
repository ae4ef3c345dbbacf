"""Teachers explain data sets: the job, its shards on disk, and the gates that judge a text."""
