"""The toolchain of an SNPE or QAIRT SDK: discovery, command lines, running, proof."""
