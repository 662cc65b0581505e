"""Values of a graph's inner tensors."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from persondet.errors import InputError
from runtime.onnx_session import open_session

Feed = Mapping[str, np.ndarray]


def tensor_values(
    model: onnx.ModelProto, names: Sequence[str]
) -> Callable[[Feed], dict[str, np.ndarray]]:
    """Return a function from a graph's inputs to its inputs and the tensors `names`, by name.

    Raises InputError if ONNX Runtime cannot run the graph.
    """
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    inputs = {value.name for value in model.graph.input}
    inner = [name for name in dict.fromkeys(names) if name not in inputs]
    for name in sorted(set(inner) - {value.name for value in model.graph.output}):
        observed.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    try:
        session = open_session(observed.SerializeToString())
    except Exception as error:  # ONNX Runtime's errors have no class of their own above them
        raise _cannot_run(error) from None

    def values(feed: Feed) -> dict[str, np.ndarray]:
        try:
            found = session.run(inner, dict(feed))
        except Exception as error:  # as above
            raise _cannot_run(error) from None
        return {**feed, **dict(zip(inner, found, strict=True))}

    return values


def _cannot_run(error: Exception) -> InputError:
    return InputError(
        f"onnxruntime cannot run the graph that is to be calibrated: {str(error).strip()}; "
        "replace these operations in the model"
    )
