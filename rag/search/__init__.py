"""From a question to passages: filters, two searches, one fusion, and what may be done to its ranking."""
