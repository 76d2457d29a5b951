"""`python -m fsar_cli` is `fsar`."""

from fsar_cli.cli.app import main

if __name__ == "__main__":
    main()
