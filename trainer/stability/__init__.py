"""What keeps the old days from being forgotten: small parts, a file each, that add up in one loss."""
