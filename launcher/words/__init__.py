"""What users read while a start waits, and when it failed."""
