"""Cells on disk by the hash of their configuration, and what computes those that are missing."""
