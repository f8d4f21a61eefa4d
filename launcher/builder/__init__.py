"""uenv images: built from one lock, verified by running them, inspected, mounted."""
