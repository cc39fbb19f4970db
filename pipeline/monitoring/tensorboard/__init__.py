"""Every span as TensorBoard events, on one axis."""
