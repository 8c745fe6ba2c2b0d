"""Runs the collected tests against every mutant in turn, in processes forked after the tests were collected.

`tests.mutants` puts this beside the mutated modules as conftest.py. mutmut's own runner collects the tests anew for
every mutant; this one finds out once which tests reach which function, and begins with the one that killed the
function's last mutant. What was found goes to `mutants.json`: for each mutant its place, change, and whether a test
failed.
"""

from __future__ import annotations

import difflib
import inspect
import json
import os
import select
import signal
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import mutmut.mutation.trampoline
import pytest
from hypothesis import Phase, settings

LONGEST_S = 20
"""A mutant whose tests take more processor time than that goes round in circles: it is noticed."""

settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=[Phase.generate])
settings.load_profile("mutants")

Function = Callable[..., Any]


class Original:
    """A function of which there are mutants, and which of them is at work."""

    def __init__(self, original: Function, mutants: dict[str, Function]) -> None:
        self.at_work, self._table = original, mutants
        self.place = f"{original.__module__}.{original.__qualname__}"
        self.tests: list[pytest.Item] = []

    def mutants(self) -> dict[str, Function]:
        """By name, with what is not mutated under `_mutmut_orig`."""
        return {name: getattr(one, "__func__", one) for name, one in self._table.items()}


originals: list[Original] = []
reached: set[Original] = set()


def choosing(mutants: dict[str, Function], is_classmethod: bool = False) -> Callable[[Function], Function]:
    """Instead of mutmut's own, which looks the mutant up in the environment at every call."""

    def decorate(function: Function) -> Function:
        original = Original(function, mutants)
        originals.append(original)

        @wraps(function)
        def call(*args: object, **kwargs: object) -> object:
            reached.add(original)
            return original.at_work(*args, **kwargs)

        return call

    return decorate


mutmut.mutation.trampoline.wrap_in_trampoline = choosing


def pytest_runtestloop(session: pytest.Session) -> bool:
    """All tests once, and then those that matter, against one mutant after the other."""
    if session.testsfailed:
        raise session.Failed("the tests cannot be collected")
    took: dict[pytest.Item, float] = {}
    for item in session.items:
        reached.clear()
        start = time.perf_counter()
        why = failure(item)
        if why is not None:
            raise session.Failed(f"{item.nodeid} fails without a mutant: {why!r}")
        took[item] = time.perf_counter() - start
        for original in reached:
            original.tests.append(item)
    for original in originals:
        original.tests.sort(key=took.__getitem__)
    print(f"{len(session.items)} tests in {sum(took.values()):.0f} s; {len(originals)} functions", flush=True)
    results = list(all_mutants(int(os.environ["MUTANT_PROCESSES"])))
    Path("mutants.json").write_text(json.dumps(results))
    return True


def all_mutants(processes: int) -> list[dict[str, object]]:
    """Each mutant's place, change and fate; `processes` at once."""
    waiting = [
        (original, name) for original in originals for name in original.mutants() if name != "_mutmut_orig"
    ]
    results, running = [], {}
    while waiting or running:
        while waiting and len(running) < processes:
            original, name = waiting.pop(0)
            running[fork(original, name)] = (original, name)
        for pipe in select.select(list(running), [], [])[0]:
            original, name = running.pop(pipe)
            told = os.read(pipe, 100).decode()
            os.close(pipe)
            os.wait()
            if told.isdigit():  # begin with that one at the function's next mutant
                original.tests.insert(0, original.tests.pop(int(told)))
            survives = told == "survives"
            change = changed(original.mutants()["_mutmut_orig"], original.mutants()[name]) if survives else []
            if len(results) % 100 == 0:
                print(f"{len(results)} mutants, {len(waiting)} to go", flush=True)
            results.append({"place": original.place, "change": change, "survives": survives})
    return results


def fork(original: Original, name: str) -> int:
    """Run one mutant's tests in a process of their own; a pipe that tells which one failed, if any."""
    ours, theirs = os.pipe()
    if os.fork():
        os.close(theirs)
        return ours
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)  # ends this process, which then has told nothing
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    original.at_work = original.mutants()[name]
    told = "survives"
    for number, item in enumerate(original.tests):
        if failure(item) is not None:
            told = str(number)
            break
    os.write(theirs, told.encode())
    os._exit(0)


def failure(item: pytest.Item) -> BaseException | None:
    """What a test ends with, None where it passes: without pytest's report, which takes longer than most tests."""
    prepared = item.session._setupstate
    try:
        prepared.setup(item)
        item.runtest()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test noticed
        return error
    finally:
        prepared.teardown_exact(None)
    return None


def changed(original: Function, mutant: Function) -> list[str]:
    """The lines that go and come."""
    lines = [inspect.getsource(one).splitlines()[1:] for one in (original, mutant)]
    diff = list(difflib.unified_diff(*lines, lineterm="", n=0))[2:]
    return [line[0] + line[1:].strip() for line in diff if line[0] in "+-" and "__mutmut_" not in line]
