"""Outputs: the only package that talks to the Kubernetes API's client library."""
