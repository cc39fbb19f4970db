"""Buckets by fsspec: addresses, what is asked of them with patience, and files there beside files on a disk."""
