"""`python -m persondet.cli`, for where the script is not on the path."""

from persondet.cli import main

main()
