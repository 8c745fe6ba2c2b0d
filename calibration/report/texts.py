"""Every sentence of the report, in English, in one place: a translation is another dictionary with these keys."""

from __future__ import annotations

from collections.abc import Sequence

LANGUAGE = "en"

TEXTS: dict[str, str] = {
    # scores by their names, in the middle of a sentence
    "score.steady_exact_match": "all six parts of the hand right at once, in steady postures",
    "score.exact_match": "all six parts of the hand right at once",
    "score.steady_per_dof_balanced_accuracy": "each part of the hand right, moved or not, in steady postures",
    "score.per_dof_balanced_accuracy": "each part of the hand right, moved or not",
    "score.steady_per_dof_accuracy": "each part of the hand right, in steady postures",
    "score.per_dof_accuracy": "each part of the hand right",
    "score.steady_balanced_accuracy": "the right movement, in steady postures",
    "score.balanced_accuracy": "the right movement",
    "score.gesture_accuracy": "the right movement",
    # the learning curve
    "learning.no_score": "Too early to say: a decoder is scored on the round after it. Make at least two "
    "rounds.",
    "learning.too_early": "Make another round: a single score does not show yet how fast it improves "
    "({score}: {now}).",
    "learning.another_round": "One more round would help: {score}, from {now} to {then}, by {gain} (90 % "
    "sure: {low} to {most}).",
    "learning.stop": "You can stop: one more round would bring {gain} (95 % sure: no more than {most}). "
    "Now {now}: {score}.",
    "learning.stop_low": "More rounds like these would bring {gain} (95 % sure: no more than {most}); "
    "{score} stays near {now}. Look first at what limits it: electrodes, movements, the measured hand.",
    # the verdict
    "verdict.ready": "Ready to use",
    "verdict.usable": "Usable, and could be better",
    "verdict.not_ready": "Not ready to use",
    "verdict.not_scored": "Not scored yet",
    "verdict.ready.why": "The decoder, which turns nerve signals into movement, understood trials that it "
    "had not seen.",
    "verdict.usable.why": "The decoder, which turns nerve signals into movement, understood trials that it "
    "had not seen, with the weaknesses named below.",
    "verdict.not_ready.why": "The decoder, which turns nerve signals into movement, does not understand "
    "this person well enough.",
    "verdict.not_scored.why": "Nobody knows yet how well the decoder, which turns nerve signals into "
    "movement, understands new trials.",
    # what to do: one text per rule
    "rule.not_scored": "Make another round: a decoder can be scored only on movements made again, and that "
    "it did not "
    "learn from.",
    "rule.low_scores": "Do not use this decoder. {what}: {score} of the time, and {least} is needed. Check "
    "the electrodes "
    "and the measured hand, then calibrate anew.",
    "rule.near_chance": "Do not use this decoder. It is right {score} of the time, and an answer that "
    "never changes would "
    "be right {chance} of the time.",
    "rule.moves_unasked": "The hand moved unasked {count} in {time} of rest. Record longer rests, and let "
    "the arm lie still.",
    "rule.few_trials": "Redo {movements}: fewer than {least} good trials were left to learn from.",
    "rule.weak_movement": "Redo {movement}: it was recognised only {share} of the time{confused}. Make it "
    "clearly, and "
    "each time alike.",
    "rule.weak_movements": "Redo {movements}: recognised only for that share of the time. Make each "
    "clearly, and each time alike.",
    "rule.weak_movements.one": "{movement} ({share}{confused})",
    "rule.weak_movements.confused": ", taken for {other}",
    "rule.weak_movement.confused": ", and taken for {other} {share} of the time",
    "rule.bad_channel": "{channel} was not usable {share} of the time ({cause}). {remedy}",
    "rule.more_bad_channels": "{count} were not usable for more than {least} of the time ({channels}). "
    "Check the plug and "
    "the cable of the array first.",
    "rule.many_left_out": "{left_out} of {made} were left out, mostly because {reason}. {remedy}",
    "rule.another_round": "{advice}",
    "rule.limited": "{advice}",
    "rule.untuned": "No channel speaks clearly for {parts}. Expect most errors there.",
    "rule.worse": "Worse than last time ({what}: {before} then, {now} now). If electrodes and movements "
    "are the same, "
    "calibrate again.",
    "rule.lost_channels": "Lost since last time: {channels}. Check plug and cable; if it stays so, tell "
    "the surgical team.",
    "rule.lost_electrodes": "Lost since last time: {channels}. Check plug, cable and skin contact.",
    "rule.lag_unsure": "How far the able hand ran behind is not well known (it varies by {spread} ms). "
    "Check its sensor, "
    "and move both hands together.",
    "rule.slow": "The computer is slow: {stage} took {p99} ms in the slowest hundredth of the answers; an "
    "answer is due "
    "every {hop} ms. Close other programs.",
    "rule.check_before_use": "Make the check before use (ten seconds of rest) each time before the hand is "
    "armed.",
    "rule.hidden": "{count} more: see the JSON file.",
    "remedy.railed": "Check its plug, and the amplifier's range.",
    "remedy.flat": "Check its plug and cable: nothing arrives.",
    "remedy.noisy": "Its contact is probably loose: re-seat it.",
    "remedy.mains": "It picks up mains: re-seat it and the reference, and keep away from power cables.",
    "remedy.drifting": "Let it settle for some minutes, or re-seat it.",
    "remedy.dead": "It hears the amplifier alone: check its plug and cable.",
    "remedy.unstable": "Its contact comes and goes: re-seat it.",
    "remedy.other": "Check its plug, cable and contact.",
    "remedy.the hands disagree": "Practise until both hands move together.",
    "remedy.nothing moved": "Give more time to react, or a clearer cue.",
    "remedy.another movement than asked for": "Show each movement before the round begins.",
    "remedy.the able hand's sensor froze": "Check the sensor's battery and link.",
    "remedy.the able hand was not seen": "Keep the able hand in sight of the sensor.",
    "remedy.the nerve signal was bad": "Check the electrodes first.",
    "remedy.samples were lost": "Check the link to the amplifier.",
    "remedy.a person left them out": "",
    "reason.a person left them out": "a person left them out",
    # the page: headings
    "page.title": "Calibration report",
    "page.for": "Calibration of {subject}",
    "page.unnamed": "an unnamed person",
    "page.what_to_do": "What to do",
    "page.what_was_done": "What was done",
    "page.scores": "How well the hand is understood",
    "page.compared": "Compared with last time",
    "page.traces": "What was meant and what was decoded",
    "page.confusion": "Which movements are mixed up",
    "page.tuning": "Which channel speaks for which finger",
    "page.learning": "Would another round help?",
    "page.channels": "Quality of the channels",
    "page.trials": "Quality of the trials",
    # what was done
    "done.side.left": "left arm without a hand",
    "done.side.right": "right arm without a hand",
    "done.side.": "side not given",
    "done.when": "When, who",
    "done.recording": "Recording",
    "done.recording.text": "{minutes} min, {channels} at {rate} Hz, {source}",
    "done.movements": "Movements",
    "done.trials": "Trials",
    "done.trials.text": "{made} (one movement each) in {rounds}, {used} used{left_out}",
    "done.trials.left_out": "; left out: {reasons}",
    "done.trials.because": "{n} because {reason}",
    "done.trials.unknown": "no record of single trials",
    "done.alignment": "Able hand",
    "done.alignment.text": "moved {lag} ms after the nerve said (± {spread} ms from trial to trial), which "
    "was taken out; its clock ran {drift} ppm (millionths) {direction}",
    "done.alignment.early": "moved {lag} ms before the nerve said (± {spread} ms from trial to trial), "
    "which was taken out; its clock ran {drift} ppm (millionths) {direction}",
    "done.alignment.none": "not measured: what was asked for is taken as done",
    "done.clock.fast": "fast",
    "done.clock.slow": "slow",
    "done.notes": "Notes",
    "kind.nerve": "nerve",
    "kind.emg": "muscle",
    "kind.envelope": "muscle, envelope",
    "unknown": "not given",
    # scores table
    "table.measure": "Measure",
    "table.steady": "steady",
    "table.all": "all",
    "table.chance": "chance",
    "table.meaning": "What it means",
    "measure.exact_match": "All six at once",
    "measure.exact_match.meaning": "thumb, four fingers and wrist right at once",
    "measure.per_dof_accuracy": "Each part",
    "measure.per_dof_accuracy.meaning": "one part right: flexed, relaxed or extended",
    "measure.per_dof_balanced_accuracy": "Each part, balanced",
    "measure.per_dof_balanced_accuracy.meaning": "the same; moved and not moved count alike",
    "measure.balanced_accuracy": "Right movement",
    "measure.balanced_accuracy.meaning": "movement or rest recognised; all count alike",
    "measure.joint_r2": "Motion followed",
    "measure.joint_r2.meaning": "how much of the course of the motion is reproduced",
    "measure.activations": "Moves unasked",
    "measure.releases": "Lets go unasked",
    "measure.activations.meaning": "leaves rest though nobody asked (/h: per hour)",
    "measure.releases.meaning": "leaves a held posture though nobody asked",
    "measure.events": "{count} in {time}: {rate}/h (95 % sure: < {upper}/h)",
    "measure.onset": "Start and stop",
    "measure.onset.meaning": "from the person's start, and stop, until decoded",
    "measure.onset.value": "{onset} and {offset}",
    "measure.latency": "Delay of the method",
    "measure.latency.meaning": "from a sudden intent to half of the hand's way",
    "measure.compute": "Computing time",
    "measure.compute.meaning": "half of the answers; all but 1 in 100",
    "measure.compute.value": "{p50} ms; {p99} ms ({stage})",
    "scores.how": "Measured on {trials} that the decoder had not seen: {folds} a decoder was fitted on the "
    "other repetitions and scored on these, in five shuffled orders (±: how these differ). The delivered "
    "decoder learned from all. Steady: without 0.3 s on either side of a change. Chance: the best answer "
    "that never changes.",
    "scores.folds.one": "once",
    "scores.folds.two": "twice",
    "scores.folds.many": "{n} times",
    "scores.none": "Not scored: that takes trials which the decoder has not learned from, so two rounds at "
    "least.",
    "big.exact_match": "all six parts right at once, when steady",
    "big.per_dof_accuracy": "each part right, when steady",
    "big.balanced_accuracy": "right movement, when steady",
    # comparison
    "compare.none": "No earlier report of this person was given.",
    "compare.since": "With the report of {date}. ± is what varies within one calibration.",
    "compare.before": "then",
    "compare.now": "now",
    "compare.better": "better",
    "compare.worse": "worse",
    "compare.same": "same",
    "compare.not_known": "not known",
    "compare.lost": "Channels lost: {channels}.",
    "compare.back": "Channels back: {channels}.",
    "compare.no_channel": "No channel was lost.",
    "compare.noise": "Noise at rest (µV)",
    # captions of charts
    "traces.caption": "{n} trials that the decoder had not seen, one after another, each under its name. "
    "At the right: how often that part was right when steady.",
    "traces.true": "meant (able hand, mirrored)",
    "traces.cued": "asked for (cue)",
    "traces.decoded": "decoded",
    "traces.seconds": "seconds",
    "traces.none": "Nothing to show: no trial was kept for scoring.",
    "traces.alt": "Six rows, thumb to wrist, over {seconds} seconds: meant and decoded positions. {accuracy}",
    "confusion.caption": "Rows: what was done. Numbers: of a hundred moments, how many were decoded as the "
    "column.",
    "confusion.best": "Most often mixed up: {first} taken for {second} ({share}).",
    "confusion.perfect": "No movement is taken for another in more than one moment of a hundred.",
    "confusion.none": "Not scored: no trial was kept for scoring.",
    "confusion.alt": "Table of movements done against movements decoded. {sentence}",
    "confusion.done": "done",
    "confusion.decoded": "decoded as",
    "tuning.caption": "+ louder, − quieter when that part moves; marked where the channel alone would be "
    "right for three moments of four.",
    "tuning.best": "Clearest: {parts}.",
    "tuning.best.one": "{part}: {channels}",
    "tuning.none_clear": "none for {parts}",
    "tuning.none": "Nothing to show: no trial tells which part moved.",
    "tuning.alt": "Heat map of {rows} motions by {channels}. {sentence}",
    "tuning.flexion": "{part}",
    "tuning.extension": "{part} (ext.)",
    "tuning.both.flexion": "{part} flexion",
    "tuning.both.extension": "{part} extension",
    "learning.trials": "trials learned from",
    "learning.axis": "right (%)",
    "learning.measured": "measured",
    "learning.expected": "expected, 90 % sure",
    "learning.caption": "Score: {score}. {now} now; about {then} after one more round of {round} (90 % "
    "sure: {low} to {high} percentage points more).",
    "learning.none": "Rounds after the first are scored; there is no score yet.",
    "learning.alt": "Learning curve: {points}. {advice}",
    "channels.noise": "noise at rest (µV)",
    "channels.masked": "not usable (%)",
    "channels.caption": "Median noise {noise} µV (r.m.s.: the usual size of the signal) in the decoder's "
    "band. {bad}",
    "channels.caption.unknown": "No channel was usable at rest. {bad}",
    "channels.good": "All channels were usable all the time.",
    "channels.mostly": "Not usable for more than 1 % of the time: {channels}.",
    "channels.one": "{name} ({share}, {cause})",
    "channels.alt": "Bars of noise at rest and of the time not usable, for {channels}. {bad}",
    "trials.used": "used",
    "trials.left_out": "left out",
    "trials.forced": "bad, used on request",
    "trials.axis": "trial",
    "trials.agreement": "agreement",
    "trials.caption": "Agreement: how well the able hand fits what the nerve said (1: perfectly). {left_out}",
    "trials.caption.plain": "{left_out}",
    "trials.none": "No record of single trials was given.",
    "trials.all_used": "All trials were used.",
    "trials.left_out.text": "Left out: {trials}.",
    "trials.alt": "Trials in order by movement. {left_out}",
    "footer": "{program}. Decoder {decoder}, session {session}. All numbers: {json}.",
    "footer.program": "Made by nervehand, a research program and no medical device: a person decides",
    "pdf.missing": "the PDF was not made, for {missing} missing: install {remedy}; the HTML page has all "
    "of it and prints "
    "on one A4 page",
    "pdf.no_package": "WeasyPrint is",
    "pdf.no_package.remedy": "the extra, pip install 'nervehand[train]'",
    "pdf.no_pango": "the library Pango is",
    "pdf.no_pango.remedy": "it, on Debian apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0",
}


def percent(share: float, digits: int = 0) -> str:
    """A share of 1 in percent: "100 %" only where nothing is missing, "0 %" only where nothing is there."""
    value, smallest = 100.0 * share, 10.0**-digits
    if share < 1.0:
        value = min(value, 100.0 - smallest)
    if 0.0 < value < smallest:
        return f"<{smallest:g} %"
    return f"{value:.{digits}f} %"


def points(difference: float, *, unit: bool = True) -> str:
    """A difference of two shares in points of a hundred."""
    value = 100.0 * difference
    if not unit:
        return f"{value:.1f}"
    if 0 <= value < 0.05:
        return "less than 0.1 percentage points"
    return f"{value:.1f} percentage point{'' if f'{value:.1f}' == '1.0' else 's'}"


def counted(n: float, one: str, many: str = "") -> str:
    """ "1 trial", "2 trials", "1.4 times": a number with its noun, and thousands set apart."""
    number = f"{n:,.0f}" if abs(n - round(n)) < 0.05 else f"{n:,.1f}"
    return f"{number} {one if number == '1' else many or one + 's'}"


def listed(names: Sequence[str], most: int = 0) -> str:
    """ "a, b and c"; with `most`, "a, b and 7 more"."""
    shown = list(names)
    if most and len(shown) > most:
        shown = [*shown[:most], f"{len(shown) - most} more"]
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def microvolts(value: float) -> str:
    """Two digits or so: a noise is not known better."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def duration(seconds: float) -> str:
    """A time in the unit that people would say it in."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 100:
        return f"{minutes:.1f} min" if minutes < 10 else f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h"


def squeezed(name: str, most: int) -> str:
    """A name in at most so many characters: its middle is left out, for names often differ at their ends."""
    plain = shortened(name, 1000)
    if len(plain) <= most:
        return plain
    tail = (most - 1) // 2
    return f"{plain[: most - 1 - tail]}…{plain[len(plain) - tail :]}"


def shortened(text: str, most: int) -> str:
    """At most so many characters, the rest as an ellipsis; one line, without control characters."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "…"


def dated(made_at: str) -> str:
    """ "2026-11-23 09:30" of an ISO time; what else it is as it is."""
    text = shortened(made_at, 32)
    return text[:16].replace("T", " ") if len(text) >= 16 and text[10:11] == "T" else text
