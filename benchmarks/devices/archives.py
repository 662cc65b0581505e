"""Many files to and from a device, as one archive: each copy by itself costs several commands."""

import tarfile
from pathlib import Path

from benchmarks.devices.transport import Transport
from persondet.errors import PersondetError
from persondet.temporary import temporary_folder


def push_folder(transport: Transport, local: Path, remote: str) -> None:
    """Copy the files of a folder, not those of folders in it, into one on the device, which is
    made. Raises as `Transport.push`."""
    archive = f"{remote.rstrip('/')}.tar"
    with temporary_folder("persondet-device-") as folder:
        packed = folder / "files.tar"
        with tarfile.open(packed, "w") as opened:
            for path in sorted(local.iterdir()):
                opened.add(path, path.name, recursive=False)
        transport.push(packed, archive)
    transport.make_folder(remote)
    transport.check(["tar", "-xf", archive, "-C", remote], what=f"unpacking on {transport.name}")
    transport.check(["rm", "-f", "--", archive], what=f"removing {archive}")


def pull_folder(transport: Transport, remote: str, local: Path) -> None:
    """Copy all files below a device's folder into a local one. Raises as `Transport.pull`."""
    archive = f"{remote.rstrip('/')}.tar"
    transport.check(["tar", "-cf", archive, "-C", remote, "."], what=f"packing {remote}")
    with temporary_folder("persondet-device-") as folder:
        packed = folder / "files.tar"
        transport.pull(archive, packed)
        transport.check(["rm", "-f", "--", archive], what=f"removing {archive}")
        try:
            with tarfile.open(packed) as opened:
                opened.extractall(local, filter="data")  # nothing outside of the folder
        except tarfile.TarError as error:
            raise PersondetError(f"{transport.name}: cannot unpack {remote}: {error}") from None
