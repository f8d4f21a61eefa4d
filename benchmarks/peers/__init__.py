"""What others do, written or configured to be measured beside the launcher."""
