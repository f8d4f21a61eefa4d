"""A whole site on one machine: identity provider, FirecREST-v2-compatible gateway, scheduler, hub."""
