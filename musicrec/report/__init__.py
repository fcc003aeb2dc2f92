"""The HTML report of a run: one module per section, turning arrays into charts, tables and text."""
