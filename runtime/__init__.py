"""What runs on the device: backends, decode, NMS, detector. Needs numpy, opencv, one backend."""

import persondet  # noqa: F401  (before onnxruntime: it turns its telemetry off)
