"""What a configuration asks of a machine, and what is said where that has it not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from decoder.bundle import read_bundle
from decoder.engines.plans import FOLDER_VARIABLE, PYTHON_VARIABLE, plan_name
from firmware_bridge.errors import NervehandError
from nervehand import config_machine
from nervehand.config import DaemonConfig
from nervehand.config_file import read_config
from nervehand.config_machine import finds_tensorrt, processors

NONE_HAS = 4095


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-3\n", {0, 1, 2, 3}), ("0\n", {0}), ("0-1,4-5\n", {0, 1, 4, 5}), ("\n", set()), ("all", set())],
)
def test_the_kernel_tells_which_processors_are_there(tmp_path: Path, text: str, numbers: set[int]) -> None:
    present = tmp_path / "present"
    present.write_text(text)
    assert processors(present) == numbers
    assert processors(tmp_path / "gone") == set()
    assert os.sched_getaffinity(0) <= processors()


@pytest.mark.parametrize(
    ("present", "said"),
    [
        (
            frozenset(range(4)),
            "realtime.guard_cpus is [1, 6] and this machine has no processor 6: name some of 0 to 3,",
        ),
        (frozenset({0}), "has no processors 1, 6: name some of 0 to 0, or leave it out"),
        (frozenset({0, 1, 4}), "has no processor 6: name some of [0, 1, 4]"),
    ],
)
def test_a_processor_that_is_not_there_is_told(
    tmp_path: Path, small_decoder: Path, monkeypatch: pytest.MonkeyPatch, present: frozenset[int], said: str
) -> None:
    monkeypatch.setattr(config_machine, "processors", lambda: present)
    path = tmp_path / "f.toml"
    path.write_text(
        f'[decoder]\nbundle = "{small_decoder}"\n[realtime]\ndecode_cpus = [0]\nguard_cpus = [1, 6]\n'
    )
    with pytest.raises(NervehandError) as caught:
        read_config(path).check_files()
    assert str(caught.value).startswith(f"{path}, line 5: ")
    assert said in str(caught.value)


def test_processors_that_nobody_uses_and_a_machine_that_does_not_tell_are_let_be(
    small_decoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = read_bundle(small_decoder)

    def lacking(policy: str) -> int:
        config = DaemonConfig.model_validate({"realtime": {"policy": policy, "decode_cpus": [NONE_HAS]}})
        wrong = 0
        for _, check in config_machine.machine_checks(config, bundle):
            try:
                check()
            except NervehandError:
                wrong += 1
        return wrong

    assert (lacking("auto"), lacking("required"), lacking("off")) == (1, 1, 0)
    monkeypatch.setattr(config_machine, "processors", frozenset)
    assert lacking("auto") == 0


def test_tensorrt_that_is_not_to_be_found_and_a_plan_that_nobody_built_are_told(
    tmp_path: Path, small_decoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.toml"
    path.write_text(f'[decoder]\nbundle = "{small_decoder}"\nengine = "tensorrt"\n')
    file = read_config(path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv(PYTHON_VARIABLE, "/gone/python3")
    with pytest.raises(
        NervehandError, match=r"line 3: decoder\.engine is \"tensorrt\" and /gone/python3 has no"
    ):
        file.check_files()
    bundle = file.check_files(here=False)
    assert len(file.lacking(bundle)) == 1
    monkeypatch.setattr(config_machine, "finds_tensorrt", lambda python: True)
    with pytest.raises(
        NervehandError, match=f"no plan of this decoder is in {tmp_path}: export it with --target"
    ):
        file.check_files()
    (tmp_path / plan_name(bundle.step_graph, "fp16")).touch()
    assert file.check_files().sha256 == bundle.sha256


def test_an_interpreter_is_asked_whether_it_has_tensorrt(tmp_path: Path) -> None:
    assert not finds_tensorrt(str(tmp_path / "gone"))
    assert not finds_tensorrt("/bin/false")
    has_it = tmp_path / "python"
    has_it.write_text(
        f"#!{sys.executable}\nimport sys, types\nsys.modules['tensorrt'] = module = types.ModuleType('tensorrt')\n"
        "module.__spec__ = object()\nexec(sys.argv[sys.argv.index('-c') + 1])\n"
    )
    has_it.chmod(0o700)
    assert finds_tensorrt(str(has_it))
