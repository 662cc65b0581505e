"""persondet: the vocabulary and the learning side of the toolchain. See docs/architecture.md."""

__version__ = "0.1.0"
