"""Questions, documents and models over HTTP: `rag serve`."""
