"""The pickles of PyTorch's checkpoints, read without pickle.

Nothing is looked up or called by name: what a state_dict and a training script's numbers need is
rebuilt here, anything else is refused by its name. The memory taken is a small multiple of the
pickle's length. Neither holds for the readers that there are: a pickle of ten bytes makes Python's
own take gigabytes (an index into its memo) or crash (the hash of a tuple nested deeply), and among
what torch's `weights_only` calls are `bytearray(n)` and `torch.Tensor(n)`.
Operations: https://github.com/python/cpython/blob/3.11/Lib/pickletools.py; the subset is the one of
torch/_weights_only_unpickler.py.
"""

import pickletools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import torch

from persondet.stored_tensor import Storage, StoredTensor, stored_tensor

# The key and the bytes of a storage to its memory, which may be filled later.
Allocate = Callable[[str, int], bytearray]

_STORAGES = {
    "UntypedStorage": torch.uint8,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
_TENSORS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
_PARAMETERS = ("_rebuild_parameter", "_rebuild_parameter_with_state")
_PLAIN = ("collections.OrderedDict", "collections.Counter", "torch.Size", "torch.device")
_SETS = ("builtins.set", "__builtin__.set")
_SUBCLASS = "torch._tensor._rebuild_from_type_v2"
_BYTES = "_codecs.encode"  # how protocol 2 stores bytes
_KEYS = (str, int, float, bool, bytes, type(None))  # a tuple's hash recurses as deep as it is


class PickleError(ValueError):
    """A pickle that is damaged, or uses what no state_dict needs."""


class ForeignObjectError(PickleError):
    """A pickle with an object that is neither a tensor nor plain data. name: its class."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Named:
    """What a pickle names or makes by name, and what is not rebuilt, such as a number of NumPy."""

    name: str


def read_pickle(data: bytes, allocate: Allocate) -> tuple[Any, int]:
    """The content of the pickle that the bytes begin with, and its length.

    Mappings are dicts, tensors StoredTensors; dtypes, devices and what NumPy made are Named.
    Raises PickleError or another ValueError, IndexError, KeyError, TypeError when it is damaged,
    ForeignObjectError when it holds other objects, ExpandedError when a tensor claims more than its
    storage.
    """
    machine, stream = _Machine(allocate), BytesIO(data)
    for operation, argument, _ in pickletools.genops(stream):
        machine.run(operation.name, argument)
    return machine.stack.pop(), stream.tell()


class _Machine:
    """The stack machine that a pickle is a program of."""

    def __init__(self, allocate: Allocate) -> None:
        self.stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, Storage] = {}
        self._allocate = allocate

    def run(self, operation: str, argument: Any) -> None:
        """One operation; its name is pickletools' own."""
        if operation in _MADE:
            self.stack.append(_MADE[operation](argument))
            return
        stack = self.stack
        match operation:
            case "PROTO" | "STOP":
                pass
            case "MARK":
                self._marked.append(stack)
                self.stack = []
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "TUPLE":
                items = self._pop_mark()
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(operation[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPEND":
                _extend(stack[-2], [stack.pop()])
            case "APPENDS":
                items = self._pop_mark()
                _extend(self.stack[-1], items)
            case "SETITEM":
                _set(stack[-3], stack[-2:])
                del stack[-2:]
            case "SETITEMS":
                items = self._pop_mark()
                _set(self.stack[-1], items)
            case "BUILD":  # attributes of a dict or of an object that is not rebuilt
                stack.pop()
            case "BINPERSID":
                stack.append(self._storage(stack.pop()))
            case "REDUCE":
                arguments = stack.pop()
                stack[-1] = _rebuilt(stack[-1], arguments)
            case _:
                raise PickleError(f"the operation {operation}")

    def _pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._marked.pop()
        return items

    def _storage(self, reference: Any) -> Storage:
        """The storage of ("storage", its class, key, device, number of elements[, None])."""
        kind, named, key, _, count, *view = reference
        name = named.name.rpartition(".")[2]
        if kind != "storage" or type(key) is not str or type(count) is not int or count < 0:
            raise PickleError("a reference to something other than a storage")
        if any(view):
            raise PickleError("a view of a storage, as torch wrote before 0.4")
        dtype = _STORAGES[name]
        if key not in self._storages:
            self._storages[key] = Storage(dtype, self._allocate(key, count * dtype.itemsize))
        return self._storages[key]


def _named(argument: str) -> Named:
    module, _, name = argument.partition(" ")
    full = f"{module}.{name}"
    known = (
        full in (*_PLAIN, *_SETS, _SUBCLASS, _BYTES)
        or (module == "torch._utils" and name in (*_TENSORS, *_PARAMETERS))
        or (module in ("torch", "torch.cuda", "torch.storage") and name in _STORAGES)
        or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype))
        or full in ("torch.Tensor", "torch.nn.parameter.Parameter")  # arguments of _SUBCLASS
        or module.partition(".")[0] == "numpy"
    )
    if not known:
        raise ForeignObjectError(full)
    return Named(full)


# Operations that only push a value, made of their argument.
_MADE: dict[str, Callable[[Any], Any]] = {
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "GLOBAL": _named,
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"),
        lambda argument: argument,
    ),
}


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise PickleError(f"items appended to a {type(target).__name__}")
    target.extend(items)


def _set(target: Any, items: list[Any]) -> None:
    """Set keys and values, which alternate."""
    if isinstance(target, Named):  # of an object that is not rebuilt
        return
    if type(target) is not dict:
        raise PickleError(f"keys set in a {type(target).__name__}")
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[_hashable(key)] = value


def _hashable(key: Any) -> Hashable:
    if type(key) not in _KEYS:
        raise PickleError(f"a key that is a {type(key).__name__}")
    return key


def _rebuilt(function: Any, arguments: Any) -> Any:
    """What the call stands for. Nothing is called that the file names."""
    if type(function) is not Named or type(arguments) is not tuple:
        raise PickleError("a call of something that is not a name")
    module, _, name = function.name.rpartition(".")
    if name in _TENSORS:
        return _rebuilt_tensor(*arguments)
    if name in _PARAMETERS:
        return _tensor(arguments[0])
    if function.name == _SUBCLASS:
        return _rebuilt(arguments[0], arguments[2])
    if function.name == _BYTES:
        return arguments[0].encode("latin-1")
    if function.name in ("torch.Size", *_SETS):
        return tuple(arguments[0]) if arguments else ()
    if module == "collections":
        made: dict[Any, Any] = {}
        for pairs in arguments:
            _set(made, [each for pair in _pairs(pairs) for each in pair])
        return made
    if module.partition(".")[0] == "numpy" or function.name == "torch.device":
        return function
    raise PickleError(f"a call of {function.name}")


def _pairs(content: Any) -> list[Any]:
    return list(content.items()) if type(content) is dict else list(content)


def _rebuilt_tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    dtype: Any = None,
    metadata: Any = None,
) -> StoredTensor:
    """torch._utils._rebuild_tensor, _v2 and _v3; dtype: of the last, Named or metadata before."""
    if type(storage) is not Storage:
        raise PickleError("a tensor without a storage")
    given = getattr(torch, dtype.name.rpartition(".")[2]) if isinstance(dtype, Named) else None
    return stored_tensor(storage, offset, tuple(shape), tuple(strides), given)


def _tensor(value: Any) -> StoredTensor:
    if type(value) is not StoredTensor:
        raise PickleError("a parameter that is not a tensor")
    return value
