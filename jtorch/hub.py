"""Files of weights from the net, kept in a folder. Models of other people's code are not loaded."""

import hashlib
import os
import pathlib
import re
import shutil
import sys
import tempfile
import urllib.parse
import urllib.request
from typing import Any, NoReturn

from jtorch.ops._args import check
from jtorch.serialization import load as _load

_folder: list[str | None] = [None]
_HASH = re.compile(r"-([a-f0-9]*)\.")


def get_dir() -> str:
    """The folder of files: what `set_dir` set, `$TORCH_HOME/hub`, or torch's own place for them in the cache folder."""
    if _folder[0] is not None:
        return _folder[0]
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return str(pathlib.Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub")


def set_dir(d: Any) -> None:
    """Choose the folder of files."""
    _folder[0] = os.path.expanduser(d)


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Fetch a file. It is put in place whole or not at all.

    Args:
        hash_prefix: the first digits of the file's SHA-256.

    Raises:
        RuntimeError: the file has another hash.
    """
    target = pathlib.Path(dst)
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "jtorch.hub"})
    with tempfile.TemporaryDirectory(dir=target.parent or ".") as folder:
        part = pathlib.Path(folder) / "part"
        with urllib.request.urlopen(request) as answer, part.open("wb") as file:
            while chunk := answer.read(1 << 20):
                file.write(chunk)
                digest.update(chunk)
        found = digest.hexdigest()
        check(
            hash_prefix is None or found.startswith(hash_prefix),
            f"download_url_to_file(): expected a file whose hash begins with {hash_prefix}, got {found}",
            RuntimeError,
        )
        shutil.move(part, target)


def load_state_dict_from_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True, check_hash: bool = False,
    file_name: str | None = None, weights_only: bool = True,
) -> Any:  # fmt: skip
    """What a file of the net holds; fetched once, and then read from the folder `checkpoints` of `get_dir()`.

    Args:
        check_hash: the name ends in `-` and the first digits of the file's SHA-256, which are compared.

    Raises:
        RuntimeError: the file has another hash.
    """
    folder = pathlib.Path(model_dir or os.path.join(get_dir(), "checkpoints"))
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name or os.path.basename(urllib.parse.urlparse(url).path)
    path = folder / name
    if not path.exists():
        sys.stderr.write(f'Downloading: "{url}" to {path}\n')
        known = _HASH.search(name) if check_hash else None
        download_url_to_file(url, str(path), None if known is None else known[1], progress)
    return _load(path, map_location=map_location, weights_only=weights_only)


def load(repo_or_dir: str, model: str, *args: Any, **kwargs: Any) -> NoReturn:
    """Models of other people's code are written for torch.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        f"hub.load(): expected nothing, got {repo_or_dir!r}; its code imports torch: copy it, change the import to "
        "jtorch, and load its weights with load_state_dict_from_url"
    )


def list(github: str, *args: Any, **kwargs: Any) -> NoReturn:
    """As `load`.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(f"hub.list(): expected nothing, got {github!r}; other people's code is not loaded")


def help(github: str, model: str, *args: Any, **kwargs: Any) -> NoReturn:
    """As `load`.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(f"hub.help(): expected nothing, got {github!r}; other people's code is not loaded")
