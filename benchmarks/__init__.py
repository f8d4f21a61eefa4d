"""What the launcher costs, measured on real parts."""
