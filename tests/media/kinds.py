"""The table of formats: how a file of each kind is made, and what may be expected of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """How a kind of file is made, and what may be expected of it.

    Attributes:
        suffix: of the file.
        make: the program's command; {src} is a WAV file, {out} the new one. "soundfile FORMAT SUBTYPE" and
            "pyav CODEC" need no program.
        frame: samples of a codec frame; 0 if the format is lossless.
        delay: samples by which sound begins late because the file does not record the encoder's delay.
        early: samples at the start that FFmpeg's own encoder and decoder lose together.
        pad: samples behind the end that the file does not mark as padding.
        witness: whether the file says how long it is.
        channels, rate: of the sound.
        bits: of a lossless sample, 0 for float.
        written: whether `--format same` keeps the codec.
        slack: samples by which the codec moves a click.
    """

    suffix: str
    make: str
    frame: int = 0
    delay: int = 0
    early: int = 0
    pad: int = 0
    witness: bool = True
    channels: int = 2
    rate: int = 48000
    bits: int = 16
    written: bool = True
    slack: int = 3

    @property
    def program(self) -> str:
        return self.make.split()[0]

    @property
    def ready(self) -> bool:
        return self.program in ("soundfile", "pyav") or shutil.which(self.program) is not None


def _ff(suffix: str, arguments: str, **about) -> Format:
    return Format(suffix, f"ffmpeg -v error -y -i {{src}} {arguments} {{out}}", **about)


def _sf(suffix: str, kind: str, **about) -> Format:
    return Format(suffix, f"soundfile {kind}", **about)


def _sox(suffix: str, arguments: str, **about) -> Format:
    return Format(suffix, f"sox -D -V1 {{src}} {arguments} {{out}}", **about)


_AAC = {"frame": 1024}
_MP3 = {"frame": 1152}
_LATE_AAC = {"frame": 1024, "delay": 1024, "pad": 1024}
_LATE_MP3 = {"frame": 1152, "delay": 1105, "pad": 1152}
_LATE_MP2 = {"frame": 1152, "delay": 481, "pad": 1152}
_LATE_AC3 = {"frame": 1536, "delay": 256, "pad": 1536}
_RAW = {"witness": False}

FORMATS: dict[str, Format] = {
    # PCM
    "wav": _sf("wav", "WAV PCM_16"),
    "wav u8": _sf("wav", "WAV PCM_U8", bits=8),
    "wav 24": _sf("wav", "WAV PCM_24", bits=24),
    "wav 32": _sf("wav", "WAV PCM_32", bits=32),
    "wav float": _sf("wav", "WAV FLOAT", bits=0),
    "wav double": _sf("wav", "WAV DOUBLE", bits=0),
    "wav mu-law": _sf("wav", "WAV ULAW", frame=1),
    "wav a-law": _sf("wav", "WAV ALAW", frame=1),
    "wav ima": _ff("wav", "-c:a adpcm_ima_wav", frame=2041, pad=2041, written=False),
    "wav ms": _ff("wav", "-c:a adpcm_ms", frame=2036, pad=2036, written=False),
    "wavex": _sf("wav", "WAVEX PCM_16"),
    "wav ffmpeg": _ff("wav", "-c:a pcm_s16le -metadata title=T"),
    "wav sox 24": _sox("wav", "-b 24", bits=24),
    "rf64": _sf("rf64", "RF64 PCM_16"),
    "rf64 ffmpeg": _ff("wav", "-c:a pcm_s24le -rf64 always", bits=24),
    "w64": _sf("w64", "W64 PCM_16"),
    "w64 ffmpeg": _ff("w64", "-c:a pcm_f32le", bits=0),
    "aiff": _sf("aiff", "AIFF PCM_16"),
    "aiff 24": _sox("aiff", "-b 24", bits=24),
    "aifc float": _ff("aiff", "-c:a pcm_f32be", bits=0),
    "aifc sowt": _ff("aiff", "-c:a pcm_s16le"),
    "aifc": _sox("aifc", ""),
    "caf": _sf("caf", "CAF PCM_16"),
    "caf ffmpeg": _ff("caf", "-c:a pcm_s24be", bits=24),
    "au": _sf("au", "AU PCM_16"),
    "au sox": _sox("au", "-e floating-point -b 32", bits=0),
    "mov pcm": _ff("mov", "-c:a pcm_s16le"),
    "mov pcm 24": _ff("mov", "-c:a pcm_s24be", bits=24),
    "mka pcm": _ff("mka", "-c:a pcm_s24le", bits=24),
    "avi pcm": _ff("avi", "-c:a pcm_s16le", written=False),
    # lossless
    "flac": _sf("flac", "FLAC PCM_16"),
    "flac 24": _sf("flac", "FLAC PCM_24", bits=24),
    "flac flac": Format("flac", "flac -s -f -o {out} {src}"),
    "flac ffmpeg": _ff("flac", "-c:a flac"),
    "oga flac": _ff("oga", "-c:a flac"),
    "mka flac": _ff("mka", "-c:a flac"),
    "alac": _ff("m4a", "-c:a alac"),
    "alac 24": _ff("m4a", "-c:a alac -sample_fmt s32p", bits=24),
    "alac mov": _ff("mov", "-c:a alac"),
    "wv": _ff("wv", "-c:a wavpack"),
    "tta": _ff("tta", "-c:a tta"),
    # MPEG audio
    "mp3": _ff("mp3", "-c:a libmp3lame -b:a 128k", **_MP3),
    "mp3 320": _ff("mp3", "-c:a libmp3lame -b:a 320k", **_MP3),
    "mp3 vbr": _ff("mp3", "-c:a libmp3lame -q:a 4", **_MP3),
    "mp3 no xing": _ff("mp3", "-c:a libmp3lame -q:a 4 -write_xing 0", **_LATE_MP3, **_RAW),
    "mp3 cbr no xing": _ff("mp3", "-c:a libmp3lame -b:a 96k -write_xing 0 -id3v2_version 0", **_LATE_MP3, **_RAW),
    "mp3 lame": Format("mp3", "lame --quiet -V 2 {src} {out}", **_MP3),
    "mp3 lame abr": Format("mp3", "lame --quiet --abr 150 --tt T --add-id3v2 {src} {out}", **_MP3),
    "mp3 lame free": Format("mp3", "lame --quiet --freeformat -b 400 {src} {out}", **_MP3),
    "mp3 lame no tag": Format("mp3", "lame --quiet -t -V 5 {src} {out}", **_LATE_MP3, **_RAW),
    "mp3 sndfile": _sf("mp3", "MP3 MPEG_LAYER_III", **_MP3),
    "mp3 22050": _ff("mp3", "-c:a libmp3lame -b:a 64k", frame=576, rate=22050),
    "mp2": _ff("mp2", "-c:a mp2 -b:a 192k", **_LATE_MP2, **_RAW),
    # AAC
    "aac": _ff("aac", "-c:a aac -b:a 128k", **_LATE_AAC, **_RAW),
    "m4a": _ff("m4a", "-c:a aac -b:a 128k", **_AAC),
    "m4a fast start": _ff("m4a", "-c:a aac -b:a 160k -movflags +faststart", **_AAC),
    "m4a fragments": _ff("m4a", "-c:a aac -movflags +frag_keyframe+empty_moov", **_LATE_AAC),
    "m4a no edits": _ff("m4a", "-c:a aac -use_editlist 0", **_LATE_AAC),
    "m4b": _ff("m4b", "-c:a aac -b:a 96k -f ipod", **_AAC),
    "mp4": _ff("mp4", "-c:a aac -b:a 128k", **_AAC),
    "mov aac": _ff("mov", "-c:a aac -b:a 128k", **_AAC),
    "3gp": _ff("3gp", "-c:a aac -b:a 96k", **_AAC, pad=1024, written=False),
    "mkv aac": _ff("mkv", "-c:a aac -b:a 128k", **_LATE_AAC),
    "ts aac": _ff("ts", "-c:a aac -b:a 128k", **_LATE_AAC, **_RAW),
    "flv aac": _ff("flv", "-c:a aac -b:a 128k", **_LATE_AAC, written=False),
    # Ogg, WebM, Matroska
    "ogg": _ff("ogg", "-c:a libvorbis -q:a 4", frame=2048),
    "ogg sndfile": _sf("ogg", "OGG VORBIS", frame=2048),
    "ogg sox": _sox("ogg", "-C 5", frame=2048),
    "opus": _ff("opus", "-c:a libopus -b:a 96k", frame=960),
    "opus opusenc": Format("opus", "opusenc --quiet --bitrate 96 {src} {out}", frame=960),
    "opus sndfile": _sf("opus", "OGG OPUS", frame=960),
    "opus ogg": _ff("ogg", "-c:a libopus -b:a 96k", frame=960),
    "webm opus": _ff("webm", "-c:a libopus -b:a 96k", frame=960),
    "webm vorbis": _ff("webm", "-c:a libvorbis -q:a 4", frame=2048, pad=1024),
    "mka opus": _ff("mka", "-c:a libopus -b:a 96k", frame=960),
    "mka vorbis": _ff("mka", "-c:a libvorbis", frame=2048, pad=1024),
    "mka mp3": _ff("mka", "-c:a libmp3lame", **_LATE_MP3),
    "mka mkvmerge": Format("mka", "mkvmerge -q -o {out} {src}"),
    "mkv live": _ff("mkv", "-c:a libopus -live 1", frame=960, **_RAW),
    # the rest
    "ac3": _ff("ac3", "-c:a ac3 -b:a 192k", **_LATE_AC3, **_RAW),
    "eac3": _ff("eac3", "-c:a eac3 -b:a 192k", **_LATE_AC3, **_RAW),
    "dts": _ff("dts", "-c:a dca -strict -2 -b:a 768k", frame=512, delay=512, pad=512, **_RAW, written=False),
    "avi mp3": _ff("avi", "-c:a libmp3lame", **_LATE_MP3, written=False),
    "wma": _ff("wma", "-c:a wmav2 -b:a 128k", frame=2048, early=2048, pad=4096, written=False),
    "amr": Format(
        "amr", "pyav libopencore_amrnb", frame=160, delay=240, pad=320, channels=1, rate=8000, written=False, slack=40
    ),
    "spx": _ff("spx", "-c:a libspeex", frame=640, delay=320, pad=640, rate=16000, channels=1, written=False, slack=40),
    "ts mp2": _ff("ts", "-c:a mp2 -b:a 192k", **_LATE_MP2, **_RAW),
    "ts ac3": _ff("ts", "-c:a ac3 -b:a 192k", **_LATE_AC3, **_RAW),
}
