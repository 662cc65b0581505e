"""persondet: the vocabulary and the learning side of the toolchain. See docs/architecture.md."""

import os

__version__ = "0.1.0"

# onnxruntime's Linux wheels report to Microsoft by default; models here are the user's own affair.
# It reads this once, when it is loaded. ORT_DISABLE_TELEMETRY=0 in the environment is respected.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
