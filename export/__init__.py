"""From checkpoint to ONNX to DLC."""
