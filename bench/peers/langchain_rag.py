"""LangChain's RAG as its tutorial builds it, answering questions from standard input; run in the peers' own venv.

`python langchain_rag.py CORPUS URL EMBEDDER CHAT_MODEL`: as in llamaindex_citations.py, but that the answers carry no
markers: `sources` are all passages that were retrieved.
"""

import json
import sys
import time
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter
from pydantic import SecretStr

MOST_TOKENS = 512  # as many as our answers may have; without a limit a small model may go on for thousands
TIMEOUT_S = 3600.0  # of a question: a busy machine may take minutes

# The wording of `rlm/rag-prompt`, which the tutorial takes from LangChain's hub.
PROMPT = ChatPromptTemplate.from_messages(
    [
        (
            "human",
            "You are an assistant for question-answering tasks. Use the following pieces of retrieved context to "
            "answer the question. If you don't know the answer, just say that you don't know. Use three sentences "
            "maximum and keep the answer concise.\nQuestion: {question} \nContext: {context} \nAnswer:",
        )
    ]
)


def main() -> None:
    """Index the corpus, then answer a line at a time."""
    corpus, url, embedder, chat_model = sys.argv[1:]
    rows = [json.loads(line) for line in Path(corpus).read_text(encoding="utf-8").splitlines()]
    key = SecretStr("none")
    embeddings = OpenAIEmbeddings(
        model=embedder, base_url=url, api_key=key, check_embedding_ctx_length=False, timeout=TIMEOUT_S, chunk_size=64
    )
    chat = ChatOpenAI(
        model=chat_model, base_url=url, api_key=key, temperature=0, max_completion_tokens=MOST_TOKENS, timeout=TIMEOUT_S
    )
    splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200, add_start_index=True)
    store = InMemoryVectorStore(embeddings)
    store.add_documents(
        splitter.split_documents(
            [Document(row["text"], metadata={"id": row["_id"], "title": row.get("title", "")}) for row in rows]
        )
    )
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        found = store.similarity_search_with_score(asked["question"])
        context = "\n\n".join(document.page_content for document, _ in found)
        said = chat.invoke(PROMPT.invoke({"question": asked["question"], "context": context}))
        usage = said.usage_metadata
        places = [(one.metadata["id"], one.metadata["start_index"], len(one.page_content)) for one, _ in found]
        answer = {
            "text": said.text,
            "sources": [(document, start, start + length) for document, start, length in places],
            "score": max((score for _, score in found), default=0.0),
            "seconds": time.perf_counter() - began,
            "tokens": {
                "prompt_tokens": usage["input_tokens"] if usage else 0,
                "completion_tokens": usage["output_tokens"] if usage else 0,
            },
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
