"""Staging of the images that a cluster file names, before somebody waits for one of them."""
