"""An SDK to test against: a folder shaped like SNPE's or QAIRT's, whose tools take the flags that
the vendor's contract gives for one version, and nothing else.

Written from the contract alone; it shares no table with `export/sdk/`, so that each checks the
other. What is real: ONNX and DLC files are read and written, calibration lists change encodings,
raw outputs are the network's. What is imitated: log lines, tables, diagnostic logs, timings.

Where it differs from an SDK:
* Every DLC is written by the embedded toolchain, in generation 4; the metadata entries are those of
  the imitated version. For SNPE 1.x, `model` and `model.params` are written again in generation 3,
  without the weights' values, and the others kept under names of the imitation's own.
* A DLC carries its ONNX in an entry `imitation.onnx`, because the quantizer starts from a DLC.
* Weights have 8 bits and biases 32, whatever the flags say; `--act_bitwidth 16` is obeyed.
* `enhanced` quantizers choose ranges by least squares; `cle` and caches are taken and do nothing.
"""

from imitation_sdk.layout import ANDROID_TARGETS, VERSIONS, linux_target, make_sdk

__all__ = ["ANDROID_TARGETS", "VERSIONS", "linux_target", "make_sdk"]
