"""The lists of wheels for a Jetson: all that pyproject asks for, in versions that the tests ran with and that fit."""

from __future__ import annotations

import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from tests.aarch64.lock import (
    ENVIRONMENT,
    FOLDER,
    ROOT,
    TARGETS,
    Wheel,
    base_requirements,
    needed,
    platforms,
    text,
    wheel_of,
)

LINE = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>\S+) --hash=sha256:(?P<sha>[0-9a-f]{64})  # (?P<file>\S+\.whl)"
)


def wheels(target: str) -> dict[str, Wheel]:
    lines = [line for line in (FOLDER / f"{target}.txt").read_text().splitlines() if line[0] not in "#-"]
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found)
    return {m["name"]: Wheel(m["name"], m["version"], m["file"], m["sha"], frozenset()) for m in found if m}


def constrained() -> dict[str, str]:
    pairs = (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.fixture(params=sorted(TARGETS))
def target(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_every_dependency_of_pyproject_is_there_in_a_version_that_it_allows(target: str) -> None:
    found = wheels(target)
    for requirement in base_requirements():
        wheel = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(wheel.version), wheel


def test_versions_are_those_of_the_tests_but_where_a_newer_glibc_is_asked_for(target: str) -> None:
    found, tested = wheels(target), constrained()
    other = {name for name, wheel in found.items() if tested.get(name) != wheel.version}
    assert other == set(TARGETS[target].unconstrained)


def test_every_wheel_fits_python_processor_and_glibc(target: str) -> None:
    fitting = {*platforms(TARGETS[target].glibc_minor), "any"}
    for wheel in wheels(target).values():
        name, version, _, tags = parse_wheel_filename(wheel.file)
        assert (name, str(version)) == (wheel.name, wheel.version)
        assert any(
            tag.platform in fitting
            and (tag.interpreter == "py3" or tag.interpreter == "cp311" or tag.abi == "abi3")
            for tag in tags
        ), wheel.file


def test_what_each_package_needs_on_such_a_machine_is_there(target: str) -> None:
    """As the packages that are installed here tell, where they are the same version."""
    found = wheels(target)
    looked_at = 0
    for name, wheel in found.items():
        try:
            about = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if about.version != wheel.version:
            continue
        looked_at += 1
        for need in map(Requirement, about.requires or []):
            if need.marker is None or need.marker.evaluate(ENVIRONMENT):
                assert need.specifier.contains(found[canonicalize_name(need.name)].version), (name, need)
    assert looked_at > len(found) // 2


def test_nothing_of_training_or_of_the_console_is_in_it(target: str) -> None:
    assert not {"torch", "nicegui", "mujoco", "scikit-learn", "matplotlib"} & set(wheels(target))


def wheel(name: str, *needs: str) -> Wheel:
    return Wheel(name, "1", f"{name}-1-py3-none-any.whl", "0" * 64, frozenset(needs))


def test_what_is_not_needed_is_left_out_and_what_is_missing_is_an_error() -> None:
    base = [canonicalize_name(r.name) for r in base_requirements()]
    all_but_one = [wheel(name) for name in base[1:]]
    found = needed([wheel(base[0], "more"), wheel("more"), wheel("windows-only"), *all_but_one])
    assert {w.name for w in found} == {*base, "more"}
    with pytest.raises(LookupError, match="more"):
        needed([wheel(base[0], "more"), *all_but_one])


def test_conditions_are_judged_with_the_eyes_of_the_target_and_of_the_extras_asked_for() -> None:
    needs = [
        "always",
        'arm; platform_machine == "aarch64"',
        'intel; platform_machine == "x86_64"',
        'fast; extra == "speed"',
        'docs; extra == "docs"',
    ]
    item: dict[str, dict[str, object]] = {
        "metadata": {"name": "One_Two", "version": "3", "requires_dist": needs},
        "download_info": {"url": "somewhere/one.whl", "archive_info": {"hashes": {"sha256": "ab"}}},
    }
    asked = item | {"requested_extras": ["speed"]}
    assert wheel_of(item) == Wheel("one-two", "3", "one.whl", "ab", frozenset({"always", "arm"}))
    assert wheel_of(asked).needs == {"always", "arm", "fast"}


def test_the_list_is_written_as_it_is_read() -> None:
    written = text("orin", [wheel("numpy")])
    assert LINE.fullmatch(written.splitlines()[-1])
