"""The checks of `rag doctor`."""
