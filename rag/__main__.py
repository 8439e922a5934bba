"""`python -m rag`: the `rag` command, where it is not on the PATH."""

from rag.cli.app import main

if __name__ == "__main__":
    main()
