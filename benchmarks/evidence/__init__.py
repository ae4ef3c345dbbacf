"""`make evidence`: do stages and explanations help? Trainings from scratch on generated samples."""
