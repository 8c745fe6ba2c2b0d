"""What `nervehand export --target` writes besides graphs: the script that builds TensorRT plans, and a README."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from decoder.engines.plans import FOLDER_VARIABLE, plan_name


@dataclass(frozen=True, slots=True)
class Target:
    """A machine: its software as NVIDIA ships it, and how its trtexec is told to build only, in how much memory."""

    name: str
    board: str
    jetpack: str
    tensorrt: str
    glibc: str
    build_only: str
    workspace: str


TARGETS = {
    target.name: target
    for target in (
        Target("jetson-nano", "Jetson Nano", "4.6.1", "8.2.1", "2.27", "--buildOnly", "--workspace=256"),
        Target(
            "orin", "Jetson Orin Nano", "6", "10.3", "2.35", "--skipInference", "--memPoolSize=workspace:256"
        ),
    )
}
"""trtexec's options: NVIDIA/TensorRT, samples/common/sampleOptions.cpp of release/8.2 and release/10.3."""

_SCRIPT = """\
#!/bin/sh
# Builds TensorRT {tensorrt} plans of this decoder on a {board} (JetPack {jetpack}), times them, and puts them where
# nervehand looks for them. Shapes are fixed in the graphs. Not run on a real board: unverified.
set -eu
cd "$(dirname "$0")"
trtexec=${{TRTEXEC:-}}
if [ -z "$trtexec" ]; then
  trtexec=$(command -v trtexec || echo /usr/src/tensorrt/bin/trtexec)
fi
if [ ! -x "$trtexec" ]; then
  echo "build_engine.sh: $trtexec is not there: install JetPack's TensorRT, or name it with TRTEXEC=..." >&2
  exit 2
fi
sha256sum --check --status <<'END' || {{ echo "build_engine.sh: a graph was changed: export again" >&2; exit 2; }}
{full_sha256}  step_fp32.onnx
{half_sha256}  step_fp16.onnx
END
folder=${{{variable}:-${{XDG_DATA_HOME:-$HOME/.local/share}}/nervehand/tensorrt}}
mkdir -p "$folder"
build() {{
  # A plan is moved into its place only when it is whole.
  "$trtexec" "$@" --saveEngine="$plan.new" {build_only} {workspace}
  mv "$plan.new" "$plan"
  echo "$plan"
  "$trtexec" --loadEngine="$plan" --warmUp=500 --duration=10 --avgRuns=100 --percentile=99
}}
plan="$folder/{full_plan}"
build --onnx=step_fp32.onnx
plan="$folder/{half_plan}"
build --onnx=step_fp16.onnx --fp16
echo "Now measure the whole engine: nervehand bench --engines"
"""

_README = """\
A decoder for a {board}: JetPack {jetpack}, TensorRT {tensorrt}, glibc {glibc}
Decoder {sha256}

step_fp32.onnx            The decoder's own step graph (ONNX, opset 13, IR 8).
step_fp16.onnx            The same with float16 weights and arithmetic; inputs, outputs and carried state are float32.
parity.json               How far both are from the engine that decodes, over {hops} hops with the state carried.
build_engine.sh           Builds TensorRT plans of both with trtexec, and times them.
nervehand.service         A systemd unit: {python}, {config}, user {user}.
requirements-aarch64.txt  The base install, each wheel with its SHA-256: CPython 3.11, aarch64, glibc {glibc}.

Install (docs/jetson.md has every step)
  {python} -m pip install --no-deps --require-hashes -r requirements-aarch64.txt
  {python} -m pip install --no-deps nervehand-*.whl
  sudo cp nervehand.service /etc/systemd/system/

Engines
  Without any of the ONNX files nervehand runs the bundle's graph on the processor, compiled; that is the default.
  TensorRT is worth its place only where it measures better. As the user of the daemon, whose home holds the plans:
  sudo -u {user} env HOME=/var/lib/nervehand sh build_engine.sh
  sudo -u {user} env HOME=/var/lib/nervehand {python} -m nervehand bench --engines --bundle DECODER.nhb

Verified, on x86-64: both graphs load and run in ONNX Runtime within the bounds of parity.json; their operators, opset
and shapes are those that TensorRT 8.2 documents; the wheels of the list ask for no newer glibc (read from them).
Unverified, for no such board was at hand: build_engine.sh and the plans it makes, TensorRT itself, the unit on JetPack,
and how Python 3.11 gets there (docs/jetson.md names the ways).
"""


def build_script(target: Target, full: bytes, half: bytes) -> str:
    """build_engine.sh for both graphs. Plans are named after the float32 one, which is what a bundle holds."""
    return _SCRIPT.format(
        tensorrt=target.tensorrt,
        board=target.board,
        jetpack=target.jetpack,
        full_sha256=hashlib.sha256(full).hexdigest(),
        half_sha256=hashlib.sha256(half).hexdigest(),
        variable=FOLDER_VARIABLE,
        build_only=target.build_only,
        workspace=target.workspace,
        full_plan=plan_name(full, "fp32"),
        half_plan=plan_name(full, "fp16"),
    )


def readme(target: Target, sha256: str, hops: int, python: str, config: str, user: str) -> str:
    """README.txt."""
    return _README.format(
        board=target.board,
        jetpack=target.jetpack,
        tensorrt=target.tensorrt,
        glibc=target.glibc,
        sha256=sha256,
        hops=hops,
        python=python,
        config=config,
        user=user,
    )
