"""What runs on the device: backends, decode, NMS, detector. Needs numpy, opencv, one backend."""
