"""The options form: what the clusters of a hub let a user choose, and what a page of it sent."""
