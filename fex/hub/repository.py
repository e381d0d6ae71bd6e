"""To and from the hub, by `huggingface_hub`, which transformers brings along."""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fex.export.reading import is_export
from fex.export.weights import export_explainer
from fex.hub.card import model_card
from fex.storage.checkpoint import read_checkpoint

__all__ = ["fetch", "is_hub_name", "push"]

FILE = "explainer.safetensors"
LARGEST = 2**33  # bytes of a file that is fetched
_NAME = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def is_hub_name(name: str | Path) -> bool:
    """Whether it names an explainer of the hub."""
    return isinstance(name, str) and name.startswith("hf://")


def fetch(name: str) -> Path:
    """The weights file of hf://owner/name or hf://owner/name@revision, from the hub or from its cache.

    Raises:
        ConnectionError: the hub cannot be reached, and the file is not in the cache.
        FileNotFoundError: no such repository or revision, or one without an explainer.
        ValueError: no such name, or a file that is too large.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"Got {name!r}, expected hf://owner/name, or hf://owner/name@revision.")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = {"repo_id": found["repository"], "filename": FILE, "revision": found["revision"], "endpoint": _endpoint()}
    try:
        if (size := _size(where)) > LARGEST:
            raise ValueError(f"{FILE} of {name} has {size:,} bytes, the limit is {LARGEST:,}.")
        return Path(hf_hub_download(**where))
    except LocalEntryNotFoundError as error:
        raise ConnectionError(
            f"The hub cannot be reached for {name}, which is not in its cache: connect, or get it elsewhere by `hf "
            f"download {found['repository']}` and give the path."
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as error:
        raise FileNotFoundError(
            f"Found no explainer at {name}: expected a repository with {FILE}, as push_to_hub writes it, that your "
            f"token may read ({type(error).__name__})."
        ) from error
    except ValueError:  # a name that no repository has, or a file that is too large
        raise
    except Exception as error:  # of the connection: of several kinds, by version
        raise ConnectionError(f"The hub gave no file for {name} ({(str(error).splitlines() or [''])[0]}).") from error


def _size(where: Mapping[str, Any]) -> int:
    """Bytes of the file; 0 where the hub cannot be asked, and only its cache is left."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return get_hf_file_metadata(hf_hub_url(**where)).size or 0
    except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError):
        raise
    except Exception:  # no connection, or offline by will: of several kinds, by version
        return 0


def push(
    source: str | Path,
    repository: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    message: str = "An explainer of fex",
    **card: Any,
) -> str:
    """Uploads an explainer's weights and its card; makes the repository if it is not there.

    Args:
        source: shipped name, .ckpt, .safetensors, a run's folder, or hf:// of another repository.
        repository: owner/name.
        private: seen by its owner alone; None is the owner's default.
        revision: branch; made if it is not there.
        message: of the commit.
        **card: what the checkpoint does not know, see `fex.hub.model_card`: data, report, license, box_license,
            data_license.

    Returns:
        Address of the commit.

    Raises:
        ConnectionError: the hub refuses, or cannot be reached.
        ValueError: an explainer that has no file, or that was exported as a graph; no such repository name.
    """
    if not source or is_export(source):
        raise ValueError(
            f"{source or 'An explainer that was made in memory'} has no weights to share: save it as a checkpoint, "
            "load that, and push it."
        )
    if re.fullmatch(r"[\w.-]+/[\w.-]+", repository) is None:
        raise ValueError(f"Got {repository!r}, expected owner/name.")
    from huggingface_hub import HfApi

    path = fetch(str(source)) if is_hub_name(source) else source
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, FILE)
        export_explainer(path, file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        text = model_card(read_checkpoint(path)[1], repository, digest=digest, **card)
        Path(folder, "README.md").write_text(text, encoding="utf-8")
        api = HfApi(endpoint=_endpoint(), library_name="fex")
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(repository, branch=revision, exist_ok=True)
            done = api.upload_folder(repo_id=repository, folder_path=folder, revision=revision, commit_message=message)
        except ValueError:  # a name that no repository has
            raise
        except Exception as error:  # of the connection: of several kinds, by version
            raise ConnectionError(
                f"The hub did not take {repository} ({(str(error).splitlines() or [''])[0]}): log in by `hf auth "
                "login` with a token that may write there."
            ) from error
    return str(done.commit_url)


def _endpoint() -> str | None:
    """Another hub, where the environment names one."""
    return os.environ.get("HF_ENDPOINT") or None
