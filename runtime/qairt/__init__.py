"""Qualcomm's libraries through ctypes: reading DLC files and executing them."""
