"""Names: the templates of --name, results of earlier runs, suffixes of other media."""

from __future__ import annotations

import os
import string
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from exdiff.audio import SUFFIXES
from exdiff.cli.enhancing.options import RESULT
from exdiff.core.errors import ConfigError
from exdiff.core.stems import STEMS

BESIDE = "{stem}.{what}{suffix}"
MIRRORED = "{stem}{suffix}"
FIELDS = ("stem", "ext", "what", "suffix")
# Sound in formats that may not be read; in folders such files are counted, not passed over silently.
_MEDIA_SUFFIXES = (
    "3g2 3ga aa aax aaxc ac3 act adts aea alac amr asf at3 atrac awb bwf dff divx dsf dss dts dtshd dvf eac3 ec3 f4v "
    "gsm iff ircam kar m2ts m4p mid midi mka mlp mod mogg mp1 mpa mpc mpeg4 mp4v mpp msv mxf nsf ofr ogm ogv oma omg "
    "paf pvf ra ram rm rmvb s3m sd2 sf shn sln spc tak thd truehd tta voc vox vqf weba wve xm xwma "
)
_VIDEO_SUFFIXES = "3g2 3gp asf avi flv m2ts m4v mkv mov mp4 mpeg mpg mts ts vob webm wmv"
MEDIA, VIDEO = frozenset(_MEDIA_SUFFIXES.split()), frozenset(_VIDEO_SUFFIXES.split())


def media_suffixes(names: Iterable[str]) -> Iterator[str]:
    """The suffixes of sound that is not read."""
    for name in names:
        suffix = os.path.splitext(name)[1].lower().removeprefix(".")
        if suffix in MEDIA and suffix not in SUFFIXES:
            yield f".{suffix}"


def check_template(template: str, whats: Sequence[str]) -> None:
    """Raise if `template` cannot name the results of a run.

    Raises:
        ConfigError: an unknown field, a missing one, or a place outside the folder of the results.
    """
    where = f"--name {template!r}"
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; write {{{{ or }}}} for a brace") from None
    fields = [name for _, name, _, _ in parts if name is not None]
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in FIELDS:
            known = ", ".join(f"{{{known}}}" for known in FIELDS)
            raise ConfigError(f"{where}: unknown field {{{name}}}; allowed: {known}")
        if form or conversion:
            raise ConfigError(f"{where}: {{{name}}} takes no format; write {{{name}}}")
    if not parts or parts[-1][1] != "suffix":
        raise ConfigError(f"{where}: must end with {{suffix}}, the suffix of the result")
    if "stem" not in fields:
        raise ConfigError(f"{where}: needs {{stem}}, or all inputs would have one name")
    if len(whats) > 1 and "what" not in fields:
        raise ConfigError(f"{where}: needs {{what}}, or both stems would have one name")
    path = PurePosixPath(template)
    if path.is_absolute() or ".." in path.parts:
        raise ConfigError(f"{where}: lies outside the folder of the results; choose that with -o")


def result_name(template: str, source: Path, what: str, suffix: str) -> str:
    """The name of a result; `suffix` begins with a dot.

    Example:
        >>> result_name("{what}/{stem}.{ext}{suffix}", Path("in/a.b.flac"), "vocals", ".wav")
        'vocals/a.b.flac.wav'
    """
    return template.format(stem=source.stem, ext=source.suffix.removeprefix("."), what=what, suffix=suffix)


def earlier_results(files: Iterable[Path], template: str | None) -> list[Path]:
    """Files with the name of a result of another file among `files`.

    Example:
        >>> earlier_results([Path("a.wav"), Path("a.enhanced.flac"), Path("b.vocals.wav")], None)
        [PosixPath('a.enhanced.flac')]
    """
    files = list(files)
    templates = [BESIDE] if template is None else [BESIDE, template]
    bare = {
        source.parent / result_name(template, source, what, "")
        for template in templates
        for source in files
        for what in (RESULT, *STEMS)
        if result_name(template, source, what, "") != source.stem
    }
    return [path for path in files if path.with_suffix("") in bare]
