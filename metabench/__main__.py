"""``python -m metabench``."""

from metabench.cli import main

if __name__ == "__main__":
    main()
