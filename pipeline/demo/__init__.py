"""The daily loop on a simulated shop (`warmspan demo`)."""
