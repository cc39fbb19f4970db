"""What a text is, before anything is made of it."""

from __future__ import annotations

import unicodedata


def normalize_text(text: str | bytes | None) -> str:
    """The text in Unicode's form NFC, its white space single blanks, none around it; empty where there is no text.

    Bytes are UTF-8; what is not becomes U+FFFD.
    """
    if text is None:
        return ""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return " ".join(unicodedata.normalize("NFC", text).split())
