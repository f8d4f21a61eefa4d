"""Images of containers: a base image with the launcher's tools beside what it holds."""
