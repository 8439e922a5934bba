"""The model server: LM Studio, our embedded engine, or any server that speaks OpenAI's API."""
