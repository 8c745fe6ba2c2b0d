"""A bundle is what is deployed: one file that holds a decoder, and everything that it was made for.

Layout (`.nhb`): a ZIP archive, nothing compressed, of `manifest.json`, `step.onnx` and `arrays/<name>.npy`
(read without pickle). The archive's comment is `nervehand-bundle-sha256:` and the SHA-256, in hex, of the
whole file with those 64 digits as zeros: one changed byte anywhere is refused, and the digest is the
bundle's identity. Nothing in a bundle can execute.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from decoder.conditioning import Coefficients, ConditioningSettings
from decoder.decision import DecisionSettings, PositionMap
from decoder.features import FeatureSettings
from decoder.health_settings import HealthSettings, instant_health
from decoder.normalisation import Compression, Normalisation
from decoder.npy import read_npy
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import StreamInfo, StreamKind

FORMAT_VERSION = 1
_COMMENT = b"nervehand-bundle-sha256:"
_ZEROS = b"0" * 64
_EPOCH = (1980, 1, 1, 0, 0, 0)  # ZIP's first date: the same decoder is the same bytes
_MAX_BYTES = 256 * 2**20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StreamSpec(_Part):
    """The stream that a decoder was made for."""

    kind: StreamKind
    rate_hz: Annotated[float, Field(gt=0)]
    channel_names: tuple[str, ...]
    electrodes: tuple[str, ...]
    nerve: str = ""


class OutputSpec(_Part):
    """One named output: `lower` and `upper` are its range in the training trials, in `unit`."""

    name: str
    unit: str
    lower: float
    upper: float


class FeatureSpec(_Part):
    """Which features run (`set` names a module of decoder.features), and how their columns are compressed and clipped
    before standardisation."""

    set: str
    settings: FeatureSettings
    compress: tuple[Compression, ...]
    clip: Annotated[float, Field(gt=0)]


class TrainingSession(_Part):
    """A session that the decoder learned from: its identifier, the SHA-256 of its file, what was used."""

    identifier: str
    sha256: str
    repetitions: tuple[int, ...] | None


class Training(_Part):
    """Where a decoder comes from."""

    sessions: tuple[TrainingSession, ...]
    network: str
    n_parameters: int
    seed: int
    nervehand_version: str
    commit: str = ""
    metrics: dict[str, float] = {}


class Manifest(_Part):
    """All of a bundle but its arrays and its graph.

    `health` None, in bundles from before there were such settings: the decoder was trained with `instant_health`.
    """

    format_version: Literal[1]
    stream: StreamSpec
    subject: str
    side: Literal["left", "right", ""]
    array: str
    conditioning: ConditioningSettings
    features: FeatureSpec
    outputs: tuple[OutputSpec, ...]
    gestures: Annotated[tuple[str, ...], Field(min_length=1)]
    decision: DecisionSettings
    warmup_s: Annotated[float, Field(ge=0)]
    training: Training
    health: HealthSettings | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RestFeatures:
    """The normalised features of the training's rest: mean and standard deviation, (f,) float32 each."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]


@dataclass(frozen=True)
class Bundle:
    """A decoder, loaded. `sha256` is its identity (empty until it was written or read).

    `rest` is what a check before use compares with; None in bundles from before there was one, and where nobody rested.

    Raises NervehandError where its parts do not belong together.
    """

    manifest: Manifest
    coefficients: Coefficients
    normalisation: Normalisation
    position_map: PositionMap
    step_graph: bytes
    sha256: str = ""
    rest: RestFeatures | None = None

    def __post_init__(self) -> None:
        m, positions = self.manifest, self.position_map
        pairs = (
            ("outputs", len(m.outputs), positions.matrix.shape[1]),
            ("gestures", len(m.gestures), positions.postures.shape[0]),
            ("features", len(m.features.compress), self.normalisation.n_features),
            *(("means of rest", self.normalisation.n_features, len(a)) for a in _of_rest(self).values()),
        )
        for what, declared, found in pairs:
            if declared != found:
                raise NervehandError(
                    f"declares {declared} {what} but holds {found}: export the decoder again"
                )

    @property
    def health(self) -> HealthSettings:
        """How channels are judged: as they were in training."""
        return (
            instant_health(self.manifest.stream.kind)
            if self.manifest.health is None
            else self.manifest.health
        )

    @property
    def hop_s(self) -> float:
        """Seconds between two intents."""
        return self.hop_raw_samples / self.manifest.stream.rate_hz

    @property
    def hop_raw_samples(self) -> int:
        """Samples of the stream between two intents."""
        return self.manifest.features.settings.hop_samples * self.manifest.conditioning.decimation

    def require_stream(self, info: StreamInfo) -> None:
        """Raise StreamMismatchError, naming both sides, unless the decoder was made for this stream."""
        mine, name = self.manifest.stream, "this decoder"
        checks: tuple[tuple[str, object, object], ...] = (
            ("kind", mine.kind, info.kind),
            ("sampling rate in Hz", mine.rate_hz, info.rate_hz),
            ("number of channels", len(mine.channel_names), info.n_channels),
            ("channel names", mine.channel_names, info.channel_names),
            ("electrode map", mine.electrodes, info.electrodes),
        )
        for what, expected, found in checks:
            if expected != found:
                raise StreamMismatchError(
                    f"{what}: {name} was made for {_show(expected)}, the stream has {_show(found)}: "
                    "use a decoder that was fitted on this stream"
                )

    def require_wearer(self, subject: str, side: str, array: str) -> None:
        """Raise StreamMismatchError, naming both sides, unless subject, side and array are the decoder's own."""
        m = self.manifest
        for what, expected, found in (
            ("subject", m.subject, subject),
            ("side", m.side, side),
            ("electrode array", m.array, array),
        ):
            if expected != found:
                raise StreamMismatchError(
                    f"{what}: this decoder was made for {expected or 'unnamed'!s}, the session is of "
                    f"{found or 'unnamed'!s}: use that person's own decoder, or override by name"
                )


def write_bundle(bundle: Bundle, path: Path) -> str:
    """Write the file whole or not at all; returns its SHA-256. NervehandError where it cannot be written."""
    data = pack(bundle)
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}."
        )  # only its owner may read it
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise NervehandError(f"{path}: cannot be written ({error.strerror}): choose another place") from error
    return _digest_in(data)


def read_bundle(path: Path) -> Bundle:
    """Raises NervehandError, naming the file, where it is missing, changed, foreign or of another format."""
    try:
        size = os.stat(path).st_size
        if size > _MAX_BYTES:
            raise NervehandError(
                f"{path}: {size} bytes is too large for a decoder bundle: is this the right file?"
            )
        data = Path(path).read_bytes()
    except OSError as error:
        raise NervehandError(
            f"{path}: cannot be read ({error.strerror}): give the path of a .nhb file"
        ) from error
    try:
        return unpack(data)
    except NervehandError as error:
        raise NervehandError(f"{path}: {error}") from error


def pack(bundle: Bundle) -> bytes:
    """The bundle as the bytes of its file: the same decoder gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _store(archive, "manifest.json", bundle.manifest.model_dump_json(indent=1).encode())
        _store(archive, "step.onnx", bundle.step_graph)
        for name, array in sorted(_arrays(bundle).items()):
            npy = io.BytesIO()
            np.lib.format.write_array(npy, np.ascontiguousarray(array), allow_pickle=False)
            _store(archive, f"arrays/{name}.npy", npy.getvalue())
        archive.comment = _COMMENT + _ZEROS
    data = buffer.getvalue()
    return data[:-64] + hashlib.sha256(data).hexdigest().encode()


def unpack(data: bytes) -> Bundle:
    """The bundle in a file's bytes. Raises NervehandError where a byte was changed or a part is missing."""
    if data[-64 - len(_COMMENT) : -64] != _COMMENT:
        raise NervehandError("is not a decoder bundle, or is cut short: copy it again, or export it again")
    digest = _digest_in(data)
    found = hashlib.sha256(data[:-64] + _ZEROS).hexdigest()
    if digest != found:
        raise NervehandError(
            f"was changed after it was written (SHA-256 {found[:12]}, not {digest[:12]}): copy it again"
        )
    try:
        members = _members(data)
        arrays = {
            name.removeprefix("arrays/").removesuffix(".npy"): read_npy(io.BytesIO(content), len(content))
            for name, content in members.items()
            if name.startswith("arrays/")
        }
        manifest = Manifest.model_validate_json(members["manifest.json"])
        return Bundle(
            manifest,
            _coefficients(manifest, arrays),
            Normalisation(
                mean=_float32(arrays, "normalisation.mean"),
                scale=_float32(arrays, "normalisation.scale"),
                clip=manifest.features.clip,
                compress=manifest.features.compress,
            ),
            PositionMap(
                matrix=_float32(arrays, "positions.matrix"),
                offset=_float32(arrays, "positions.offset"),
                postures=_float32(arrays, "positions.postures"),
            ),
            members["step.onnx"],
            digest,
            RestFeatures(_float32(arrays, "rest.mean"), _float32(arrays, "rest.spread"))
            if "rest.mean" in arrays
            else None,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NervehandError(f"manifest.json, {where}: {first['msg']}: export the decoder again") from error
    except (KeyError, ValueError, TypeError) as error:
        raise NervehandError(f"holds no complete decoder ({error}): export it again") from error


def _members(data: bytes) -> dict[str, bytes]:
    """The archive's members by name. Raises NervehandError, and never gives more bytes than came in."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                raise NervehandError("holds something compressed, as no decoder bundle does: export it again")
            if sum(info.file_size for info in infos) > len(data):
                raise NervehandError("claims more than it holds: copy it again, or export it again")
            return {info.filename: archive.read(info) for info in infos}
    except NervehandError:
        raise
    except Exception as error:  # what zipfile raises on damage has no common base
        raise NervehandError(f"holds no whole archive ({error}): export it again") from error


def _digest_in(data: bytes) -> str:
    return data[-64:].decode("ascii", "replace")


def _store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)


def _arrays(bundle: Bundle) -> dict[str, NDArray[np.generic]]:
    filters = bundle.coefficients
    return {
        "conditioning.fir": filters.fir,
        "conditioning.sos": filters.sos,
        "conditioning.zi": filters.zi,
        "conditioning.notches_hz": np.array(filters.notches_hz, np.float64),
        "normalisation.mean": bundle.normalisation.mean,
        "normalisation.scale": bundle.normalisation.scale,
        "positions.matrix": bundle.position_map.matrix,
        "positions.offset": bundle.position_map.offset,
        "positions.postures": bundle.position_map.postures,
        **_of_rest(bundle),
    }


def _of_rest(bundle: Bundle) -> dict[str, NDArray[np.float32]]:
    return {} if bundle.rest is None else {"rest.mean": bundle.rest.mean, "rest.spread": bundle.rest.spread}


def _coefficients(manifest: Manifest, arrays: Mapping[str, NDArray[np.generic]]) -> Coefficients:
    settings = manifest.conditioning
    return Coefficients(
        input_rate_hz=manifest.stream.rate_hz,
        decimation=settings.decimation,
        rereference=settings.rereference,
        fir=np.asarray(arrays["conditioning.fir"], np.float64),
        sos=np.asarray(arrays["conditioning.sos"], np.float64),
        zi=np.asarray(arrays["conditioning.zi"], np.float64),
        band_hz=settings.band_hz,
        notches_hz=tuple(np.asarray(arrays["conditioning.notches_hz"], np.float64).tolist()),
    )


def _float32(arrays: Mapping[str, NDArray[np.generic]], name: str) -> NDArray[np.float32]:
    return np.asarray(arrays[name], np.float32)


def _show(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"{text[:60]}..." if len(text) > 60 else text or "none"
