"""What lies in the data folder against what the ledger says: what is missing, owed, to be run."""
