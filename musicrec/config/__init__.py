"""From presets, YAML and the command line to one checked, frozen configuration."""
