"""A bundle is what is deployed: one file that holds a decoder, and everything that it was made for.

Layout (`.nhb`): a ZIP archive, nothing compressed, of `manifest.json`, `step.onnx` and `arrays/<name>.npy`
(read without pickle), and `signature.json` where somebody signed (decoder/signature.py). Its comment holds the SHA-256
of the whole file (decoder/bundle_archive.py): one changed byte anywhere is refused, and the digest is the bundle's
identity. Members of other names are left alone. Nothing in a bundle can execute.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from decoder.bundle_archive import MANIFEST, SIGNATURE, STEP_GRAPH, archived, members_in
from decoder.conditioning import Coefficients, ConditioningSettings
from decoder.decision import DecisionSettings, PositionMap
from decoder.features import FeatureSettings
from decoder.health_settings import HealthSettings, instant_health
from decoder.normalisation import Compression, Normalisation
from decoder.npy import read_npy
from decoder.signature import Signature, members_sha256, require_allowed, signature_in, to_json
from firmware_bridge.errors import NervehandError, StreamMismatchError
from firmware_bridge.stream import StreamInfo, StreamKind

FORMAT_VERSION = 1
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
    `signature` is what was found beside the content, not yet checked (decoder/signing.py); None: nobody signed.

    Raises NervehandError where its parts do not belong together.
    """

    manifest: Manifest
    coefficients: Coefficients
    normalisation: Normalisation
    position_map: PositionMap
    step_graph: bytes
    sha256: str = ""
    rest: RestFeatures | None = None
    signature: Signature | None = None

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
    return data[-64:].decode()


def read_bundle(path: Path, allowed_signers: Sequence[str] = ()) -> Bundle:
    """Raises NervehandError, naming the file, where it is missing, changed, foreign or of another format, or where
    there are `allowed_signers` (keys, as `nervehand signer show` prints them) and none of them signed it."""
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
        return unpack(data, allowed_signers)
    except NervehandError as error:
        raise NervehandError(f"{path}: {error}") from error


def pack(bundle: Bundle) -> bytes:
    """The bundle as the bytes of its file: the same decoder gives the same bytes.

    NervehandError where it carries a signature of something else.
    """
    members = content_of(bundle)
    if bundle.signature is not None:
        if members_sha256(members) != bundle.signature.members_sha256:
            raise NervehandError(
                f"this decoder is not what {bundle.signature.who} signed any more: sign it again, or copy the file"
            )
        members[SIGNATURE] = to_json(bundle.signature)
    return archived(members)


def content_of(bundle: Bundle) -> dict[str, bytes]:
    """The members of the bundle's file by name, all but a signature."""
    members = {MANIFEST: bundle.manifest.model_dump_json(indent=1).encode(), STEP_GRAPH: bundle.step_graph}
    for name, array in _arrays(bundle).items():
        npy = io.BytesIO()
        np.lib.format.write_array(npy, np.ascontiguousarray(array), allow_pickle=False)
        members[f"arrays/{name}.npy"] = npy.getvalue()
    return members


def unpack(data: bytes, allowed_signers: Sequence[str] = ()) -> Bundle:
    """The bundle in a file's bytes. NervehandError where a byte was changed, a part is missing, or none of the
    `allowed_signers` signed it, where there are any: that is judged before anything in it is looked at."""
    members, digest = members_in(data)
    signature = signature_in(members)
    require_allowed(signature, allowed_signers)
    try:
        arrays = {
            name.removeprefix("arrays/").removesuffix(".npy"): read_npy(io.BytesIO(content), len(content))
            for name, content in members.items()
            if name.startswith("arrays/")
        }
        manifest = Manifest.model_validate_json(members[MANIFEST])
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
            members[STEP_GRAPH],
            digest,
            RestFeatures(_float32(arrays, "rest.mean"), _float32(arrays, "rest.spread"))
            if "rest.mean" in arrays
            else None,
            signature,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NervehandError(f"manifest.json, {where}: {first['msg']}: export the decoder again") from error
    except (KeyError, ValueError, TypeError) as error:
        raise NervehandError(f"holds no complete decoder ({error}): export it again") from error


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
