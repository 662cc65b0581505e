"""An imitation of an SDK, not an SDK: what passes here was never run by a real tool.

It can show that our commands and parsers agree with what was collected about the real tools: flags
by version, texts that real runs printed, what those refuse. It cannot show that this is right, nor
what a real converter makes of a graph, how a real quantizer rounds, what is in a real cache or how
long a device takes: it confirms consistency, not rightness.

A folder shaped like SNPE's or QAIRT's, whose tools take the flags that are known of one version,
and nothing else. Texts are those of real logs; where none is known of a version, the tool prints
none, and where a text is ours, a comment says so. It shares no table with `export/sdk/`, so that
each checks the other. What is real: ONNX and DLC files are read and written, calibration lists
change encodings, raw outputs are the network's. What is imitated: log lines, tables, diagnostic
logs, timings.

Where it differs from an SDK:
* Every DLC is written by the embedded toolchain, in generation 4; the metadata entries are those of
  the imitated version. For SNPE 1.x, `model` and `model.params` are written again in generation 3,
  without the weights' values, and the others kept under names of the imitation's own.
* A DLC carries its ONNX in an entry `imitation.onnx`, because the quantizer starts from a DLC.
* Weights have 8 bits and biases 32, whatever the flags say; `--act_bitwidth 16` is obeyed.
* `enhanced` quantizers choose ranges by least squares; `cle` is taken and does nothing.
* A float16 DLC holds float32, and only its record says otherwise.
* `--float_fallback` with encodings that do not cover the whole graph leaves all of it float.
* A cache is an entry `imitation.cache` that names its SoCs and outputs.
"""

from imitation_sdk.layout import ANDROID_TARGETS, VERSIONS, linux_target, make_sdk

__all__ = ["ANDROID_TARGETS", "VERSIONS", "linux_target", "make_sdk"]
