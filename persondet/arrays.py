"""Reading arrays of an .npz file that comes from anywhere."""

import zipfile
from math import prod
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from persondet.errors import InputError
from persondet.files import FormatError, zip_entries

MAX_BYTES = 1 << 30  # of all arrays together, unpacked


def read_arrays(path: Path, what: str = "") -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name, whatever their number and shapes.

    what: what the file is, in words such as "the outputs", for messages.
    Raises FormatError if it is no such file, is damaged, or claims more than MAX_BYTES; InputError
    if it cannot be read.
    """
    named = f"{what} {path}" if what else str(path)
    try:
        with path.open("rb") as file:
            if sum(entry.file_size for entry in zip_entries(file)) > MAX_BYTES:
                raise FormatError(f"cannot read {named}: its arrays take more than 1 GiB")
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                _check_claims(stored.zip, named)
                return {name: stored[name] for name in stored.files}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {named}: {error.strerror or error}") from None
    except Exception as error:  # the zip, its compression and numpy's headers each have their own
        # (zipfile quotes a whole directory in some)
        raise FormatError(
            f"cannot read {named}: expected arrays that numpy.savez wrote, found a damaged or "
            f"another file ({str(error)[:200]})"
        ) from None


def _check_claims(archive: zipfile.ZipFile, named: str) -> None:
    """Raise FormatError if an array claims more bytes than its entry has: numpy takes the memory
    before it reads."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    for entry in archive.infolist():
        with archive.open(entry) as member:
            shape, _, dtype = readers[npy.read_magic(member)](member)
        claimed = prod(shape) * dtype.itemsize
        if claimed > entry.file_size:
            raise FormatError(
                f"cannot read {named}: {entry.filename.removesuffix('.npy')} has shape {shape}, "
                f"{claimed:,} bytes, and the file holds {entry.file_size:,} of it"
            )
