"""Read files of installed packages of weights, without importing the package, and verify them."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from musicrec.config.inputs import PRETRAINED
from musicrec.config.packages import PackageError, check_installed


@dataclass(frozen=True)
class WeightsPackage:
    """A distribution of which only some files are used.

    Attributes
    ----------
    files
        Path within the folder of installed packages -> SHA-256 in hexadecimal.
    """

    name: str
    version: str
    files: Mapping[str, str]

    def read(self, path: str) -> bytes:
        """Return the content of one of ``files``.

        Raises
        ------
        PackageError
            It is not installed, or its content has another hash.
        """
        check_installed(self.name, self.version, f"the network {self.name}")
        location = Path(str(importlib.metadata.distribution(self.name).locate_file(path)))
        repair = f"run pip install --no-deps --force-reinstall {self.name}=={self.version}"
        try:
            content = location.read_bytes()
        except OSError as error:
            raise PackageError(f"{location}: {error.strerror}; {repair}") from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.files[path]:
            raise PackageError(
                f"{location} has the SHA-256 {digest} instead of {self.files[path]}; {repair}"
            )
        return content


INDEX = "musicnn/MSD_musicnn/.index"
DATA = "musicnn/MSD_musicnn/.data-00000-of-00001"
LICENCE = "musicnn-0.1.0.dist-info/LICENSE.md"
# The hashes are those of the RECORD in musicnn-0.1.0-py3-none-any.whl on PyPI.
MUSICNN = WeightsPackage(
    PRETRAINED["musicnn"].package,
    PRETRAINED["musicnn"].version,
    {
        INDEX: "87f3e0f3550c8d3bafc840374003e5c8af5eeb5ecf6add61af09a7822d3282c8",
        DATA: "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6",
        LICENCE: "60c4194f702ddd969f969577743546327b4e9db560c07ec286be5cec27f55fcd",
    },
)
