"""Whole documents in a few sentences, each with its evidence."""
