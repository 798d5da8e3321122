"""Runs inside every environment, one process per environment: imports node packs and runs their node classes."""
