"""Who may arm the gate, with what check, and what is said about it."""

from __future__ import annotations

from firmware_bridge.gate_limits import GateLimits
from firmware_bridge.hand import LinkState, WatchdogAction
from firmware_bridge.preuse import PreUseReport

NS = 1_000_000_000
UNACKNOWLEDGED = (
    "what the hand does when commands stop is unknown: name who acknowledges that"
    " (--acknowledge-watchdog NAME, or watchdog_acknowledged_by in its file)"
)


def unnamed(who: str) -> bool:
    """Whether nobody is named."""
    return not who.strip()


def refusal_by_hand(is_there: bool, link: LinkState, fault: str, objection: str) -> str:
    """Why not to arm this hand as it is now; "" for no reason."""
    if not is_there:
        return f"the hand is not there (link {link.value}): connect it and wait for its first report"
    if fault:
        return f"the hand reports {fault!r}: clear it first"
    if objection:
        return f"{objection}: see to it first"
    return ""


def refusal_by_check(
    now_ns: int, report: PreUseReport, limits: GateLimits, watchdog: WatchdogAction, acknowledgement: str
) -> str:
    """Why not to arm after this check; "" for no reason."""
    if not report.passed and unnamed(report.overridden_by):
        return "the pre-use check has not passed: do it again, or have it overridden by name"
    if report.finished_ns > now_ns:
        return "the pre-use check is of the future: do it again"
    if now_ns - report.finished_ns > limits.check_valid_s * NS:
        return f"the pre-use check is older than {limits.check_valid_s:g} s: do it again"
    if watchdog is WatchdogAction.UNKNOWN and unnamed(acknowledgement):
        return UNACKNOWLEDGED
    return ""


def laxer_than_usual(limits: GateLimits) -> str:
    """What is said of limits that are, "" of others."""
    return f"; limits laxer than usual: {', '.join(limits.laxer)}" if limits.laxer else ""


def told(report: PreUseReport, acknowledgement: str, limits: GateLimits) -> str:
    """What an arming rests on, in words."""
    text = "armed; pre-use check "
    if report.passed:
        text += "passed"
    else:
        failed = ", ".join(item.name for item in report.items if not item.passed)
        text += f"overridden by {report.overridden_by}" + (
            f" (failed: {failed})" if failed else " (not done)"
        )
    text += f"; acknowledged by {acknowledgement}" if acknowledgement else ""
    return text + laxer_than_usual(limits)
