"""From presets, YAML and the command line to one frozen configuration, checked before any work begins."""
