"""Build the demo catalog: public-domain scores rendered with an installed package's soundfont."""
