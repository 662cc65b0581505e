"""Calibration sets, encodings and quantized DLC files."""
