"""From the settings to what the components are given."""
