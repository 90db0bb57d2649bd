"""`python -m tlkit.cli` is `tlkit`."""

from tlkit.cli import main

main()
