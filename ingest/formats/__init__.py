"""Readers: the bytes of a file to a document's text and pieces, a file for each format or for what several share."""
