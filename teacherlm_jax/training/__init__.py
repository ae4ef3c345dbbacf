"""Training: one program for every stage of a teacher, and for students."""
