"""What sort of file a name says it is, by its extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from .index import FileKind

_EXTENSIONS: dict[FileKind, str] = {
    "audio": (
        "aac ac3 aif aiff alac amr ape au cda dff dsf dts flac gsm it m4a m4b m4p mid midi mka mod mp1 mp2 "
        "mp3 mpc oga ogg opus ra rm s3m sid spx tta voc wav wma wv xm"
    ),
    "video": (
        "3g2 3gp amv asf avi divx dv f4v flv h264 m1v m2ts m2v m4v mkv mov mp4 mpe mpeg mpg mts mxf ogm ogv "
        "qt rmvb swf ts vob webm wmv xvid y4m"
    ),
    "image": (
        "ai arw avif bmp cr2 cr3 cur dng emf eps exr gif heic heif ico indd jfif jp2 jpe jpeg jpg jxl nef orf "
        "pbm pcx pgm png pnm ppm psd raf raw rw2 svg tga tif tiff webp wmf xbm xcf xpm"
    ),
    "document": (
        "abw azw azw3 cbr cbz chm csv djvu doc docm docx dot dotx epub fb2 htm html key log lit markdown md "
        "mht mobi nfo numbers odg odp ods odt pages pdf pot potx pps ppsx ppt pptx ps rst rtf srt sub tex tsv "
        "txt vtt wpd wps xls xlsm xlsx xml xps"
    ),
    "archive": (
        "7z ace alz apk arc arj bin br bz2 cab ccd cpio cue deb dmg gz hqx img iso jar lha lz lz4 lzh lzma "
        "mdf mds nrg pak rar rpm sit sitx tar taz tbz tbz2 tgz tlz txz tzst udf uue wim xar xz z zip zipx zoo "
        "zst"
    ),
    "program": (
        "app appimage bat cmd com cpl dll elf exe flatpak gadget ipa ko msi msix msp pif ps1 py rb run scr sh "
        "snap so sys vbs wasm whl xpi"
    ),
}

_KIND_OF: dict[str, FileKind] = {ext: kind for kind, extensions in _EXTENSIONS.items() for ext in extensions.split()}

#: All kinds, as the wire names them.
KINDS: Sequence[FileKind] = get_args(FileKind)


def extension(name: str) -> str:
    """In lower case, without its dot; empty if there is none. ``.profile`` has none."""
    stem, dot, last = name.rpartition(".")
    return last.lower() if dot and stem.strip(".") else ""


def kind_of(name: str) -> FileKind | None:
    """The kind of a file with this name; None if nothing is known of its extension."""
    return _KIND_OF.get(extension(name))


def extensions_of(kind: FileKind) -> Sequence[str]:
    return _EXTENSIONS[kind].split()
