"""What is known of items besides their ids: the declaration of features, their values by row, and their statistics."""
