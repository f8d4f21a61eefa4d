"""What is loaded into a hub that is measured, by its configuration alone; it imports nothing of the rest."""
