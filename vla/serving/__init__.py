"""A policy on one machine, its callers on others: codec, server, RemotePolicy."""
