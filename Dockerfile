# The service for one machine; the models run elsewhere, in LM Studio or the embedded engine. See compose.yaml.
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 rag && mkdir /data && chown rag /data
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY rag rag
COPY ingest ingest
COPY data/sample data/sample
# The pinned versions without their hashes: pip wants one of everything or of nothing, and our own folder has none.
RUN sed -E -e '/^ *(--hash|#)/d' -e 's/ *\\$//' constraints.txt > /tmp/pins.txt \
    && pip install --no-cache-dir -c /tmp/pins.txt '.[service,mcp]'

USER rag
WORKDIR /data
ENV RAG_KB=/data/notes.kb RAG_STATE_DIR=/data/state PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8009
# Within a container all addresses are others' too: it starts with RAG_SERVICE_TOKEN alone.
CMD ["rag", "serve", "--host", "0.0.0.0"]
