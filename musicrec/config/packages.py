"""Check that a package which carries the weights of a pretrained network is installed."""

from __future__ import annotations

import importlib.metadata

from musicrec.config.errors import ConfigError


class PackageError(ConfigError, ImportError):
    """A package that is not installed or of another version, or whose files differ.

    It is an ImportError, so that on a worker it stops the job and counts as no file's error.
    """


def check_installed(package: str, version: str, needed_by: str) -> None:
    """Raise PackageError, with the command that installs it, unless the version is installed.

    The package itself is not imported: what it depends on is not needed, hence ``--no-deps``.

    Parameters
    ----------
    needed_by
        The setting that needs the package.
    """
    install = f"run pip install --no-deps {package}=={version}"
    try:
        installed = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise PackageError(
            f"{needed_by} needs the package '{package}', which is not installed: {install}"
        ) from None
    if installed != version:
        raise PackageError(
            f"{needed_by} needs version {version} of the package '{package}', and {installed} is "
            f"installed: {install}"
        )
