"""The HTML report of a run: each section a module, from tables and arrays to charts and text; the page around them. Plain functions."""
