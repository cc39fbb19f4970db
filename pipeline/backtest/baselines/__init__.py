"""What needs no training and is to be beaten: a baseline a file, behind the protocol of `base.Baseline`."""
