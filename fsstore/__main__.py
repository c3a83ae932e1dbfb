"""`python -m fsstore` is the command line."""

from fsstore.cli import main

if __name__ == "__main__":
    main()
