"""What is done by hand to a root: rollback, labels, garbage collection, deployment files."""
