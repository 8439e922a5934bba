"""Texts and writers of the sample documents; `data/make_sample.py` puts them together."""
