"""Which of a user's events carried a score (`warmspan explain`)."""
