"""Build the demo catalog: public-domain scores rendered with the soundfont of an installed package."""
