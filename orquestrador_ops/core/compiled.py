"""Compiled catalogs. A ``.mo`` is named after the digest of the ``.po`` that it was made of.

So the ``.po`` is the truth and a stale ``.mo`` is never read. It lies beside its ``.po`` where a package build or
``make venv`` put it; a plain checkout has none, and its first use keeps one in the state directory, or in memory only
where nothing can be written. A catalog from the state directory is trusted as the history there is.
"""

from __future__ import annotations

import contextlib
import gettext
import hashlib
import io
import time
from pathlib import Path

# Two checkouts may share a state directory: only what neither has made anew for this long is forgotten.
KEPT_S = 30 * 86400.0
_DIGEST_BYTES = hashlib.sha256().digest_size


def translations(po: Path, state_dir: Path | None) -> gettext.GNUTranslations:
    """The catalog that ``po`` says, compiled if need be and then kept in ``state_dir``, if there is one.

    Raises ``OSError`` when ``po`` cannot be read.
    """
    source = po.read_bytes()
    name = _name(po, source)
    kept = state_dir / "locale" / po.parent.relative_to(po.parents[2]) if state_dir else None
    for directory in (po.parent, kept) if kept else (po.parent,):
        found = _read(directory / name)
        if found is not None:
            return found
    compiled = compile_po(source)
    if kept is not None:
        with contextlib.suppress(OSError):
            _store(kept / name, compiled, mode=0o600, older_than_s=KEPT_S)
    return gettext.GNUTranslations(io.BytesIO(compiled))


def write(po: Path) -> None:
    """Compile ``po`` beside itself, in place of whatever was compiled there. Raises ``OSError``."""
    source = po.read_bytes()
    _store(po.with_name(_name(po, source)), compile_po(source), mode=0o644, older_than_s=0)


def compile_po(source: bytes) -> bytes:
    """What the ``.mo`` of a ``.po`` has to contain: GNU's format, and a digest of it at the end, where none looks."""
    # Imported here, because only whoever has to compile needs it: 15 of the 40 ms that compiling takes.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    buffer = io.BytesIO()
    write_mo(buffer, read_po(io.BytesIO(source)))
    return buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest()


def _name(po: Path, source: bytes) -> str:
    return f"{po.stem}-{hashlib.sha256(source).hexdigest()[:16]}.mo"


def _read(path: Path) -> gettext.GNUTranslations | None:
    """A compiled catalog; ``None`` when there is none, or a damaged one."""
    try:
        data = path.read_bytes()
        content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            return None
        return gettext.GNUTranslations(io.BytesIO(content))
    except (OSError, ValueError):
        return None


def _store(path: Path, data: bytes, *, mode: int, older_than_s: float) -> None:
    from .files import private_dir, write_atomic

    private_dir(path.parent)
    write_atomic(path, data, mode=mode)
    for other in path.parent.glob(f"*{path.name.partition('-')[0]}-*.mo*"):
        # What is no .mo yet may be another's that is being written; a month later its writer was killed.
        limit = older_than_s if other.suffix == ".mo" else KEPT_S
        with contextlib.suppress(OSError):
            if other != path and time.time() - other.stat().st_mtime >= limit:
                other.unlink()
