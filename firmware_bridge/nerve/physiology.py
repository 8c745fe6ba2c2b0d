"""Every constant of the simulated person, with its source, and the three difficulties.

Where a source gives a range, the value lies inside it; where there is none, the comment says that it was chosen. The
constants were set before any decoder was tuned on them. A test holds their hash: who changes one raises VERSION, says
why, and runs every table of docs/results.md again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from firmware_bridge.errors import NervehandError

VERSION = 1


@dataclass(frozen=True, slots=True)
class Physiology:
    """One kind of person with an implant, and of day. Lengths in the units of their names."""

    # Motor neurons. Muscles of the hand and forearm have 100 to 300 (Feinstein et al., Acta Anat 1955; Brown, J Neurol
    # Neurosurg Psychiatry 1972); those whose axons pass an electrode's fascicle are fewer.
    units_per_pool: int = 40
    # Recruitment in the order of size over a thirtyfold range of thresholds (Henneman et al., J Neurophysiol 1965;
    # Fuglevand, Winter and Patla, J Neurophysiol 1993).
    recruitment_range: float = 30.0
    last_recruited_at: float = (
        0.7  # of the largest effort; 0.5 in hand muscles, 0.85 in larger (De Luca et al. 1982)
    )
    first_rate_hz: float = (
        8.0  # Fuglevand et al. 1993; 5 to 10 Hz in Milner-Brown, Stein and Yemm, J Physiol 1973
    )
    peak_rate_hz: float = 35.0  # Fuglevand et al. 1993
    peak_rate_range_hz: float = (
        10.0  # earlier units reach higher rates: the onion skin (De Luca et al., J Physiol 1982)
    )
    rate_gain_hz: float = (
        45.0  # Hz per unit of effort above threshold (Milner-Brown et al. 1973: 1.4 Hz per 1 % MVC
    )
    # in the first dorsal interosseous at low force; less further up)
    interval_cv: float = 0.2  # Clamann, Biophys J 1969; Matthews, J Physiol 1996: 0.1 to 0.3
    shortest_interval_s: float = (
        0.005  # doublets of motor units: Denslow, Am J Physiol 1948; Bawa and Calancie 1983
    )

    # Motor axons at the forearm conduct at 34 to 66 m/s, thenar ones at 50 most often, slower ones recruited first
    # (single motor axons of the median nerve at the wrist; Kimura, Electrodiagnosis, 2013), which at 5.65 m/s per um
    # are 6 to 12 um of diameter.
    smallest_axon_um: float = 6.5
    largest_axon_um: float = 12.0
    axon_spread: float = 0.08  # of the diameter at a given threshold; chosen

    # Nerves. Fascicles of the forearm are 0.38 (ulnar) and 0.47 mm (median) wide, +- 0.18 (Brill and Tyler, Muscle
    # Nerve 2017); motor axons of a muscle lie together in one or two of them (Stewart, Muscle Nerve 2003).
    fascicles_per_nerve: int = 4
    smallest_fascicle_um: float = 240.0
    largest_fascicle_um: float = 520.0
    bundle_um: float = 70.0  # spread of a muscle's axons round their centre in the fascicle; chosen

    # Electrodes: see contact.py for the contact itself.
    noise_uv: float = (
        4.0  # thermal and amplifier noise, r.m.s. up to 0.45 of 10 kHz; scales with the root of the band
    )
    pink_uv: float = 1.5  # of the electrode's interface, 1/f in power below 300 Hz
    mains_uv: float = 3.0
    baseline_uv: float = 40.0  # slow wander

    # Effort. Position 1 takes this part of the largest effort; phantom movements are made at low to moderate effort.
    effort_at_full: float = 0.45
    effort_per_speed_s: float = 0.06  # of effort per position per second
    resting_tone: float = 0.012  # of effort: the first units fire slowly at rest; extension silences them
    co_contraction: float = 0.10  # of the agonist's effort in its antagonist
    enslaving: float = (
        0.10  # neighbours' involuntary part (Zatsiorsky, Li and Latash, Exp Brain Res 2000: 0.1 to 0.3)
    )
    effort_spread: float = 0.30  # of the effort at the same posture, over seconds, lognormal sigma; chosen
    wander: float = 0.05  # slow common drive, of the effort (De Luca and Erim, Trends Neurosci 1994)
    lead_s: float = (
        0.06  # nerve ahead of movement: electromechanical delay (Cavanagh and Komi, Eur J Appl Physiol 1979)
    )

    # The person.
    reaction_s: float = 0.25  # to a cue one sees (Welford, Reaction Times, 1980: 0.18 to 0.3)
    reaction_spread_s: float = 0.05
    level_spread: float = 0.08  # how exactly a posture's level is met again

    # Muscles left in the forearm; see muscle.py for one motor unit's potential.
    crosstalk: float = 0.5  # scale of all muscle potentials at the nerve's electrodes
    muscle_gap_mm: float = 18.0  # from the nerve to the flexors' motor units
    extensor_gap_mm: float = 34.0  # across the interosseous membrane
    crosstalk_contrast: float = (
        0.25  # how differently two contacts of a nerve see the same muscle, lognormal sigma
    )

    # From one day to the next.
    drift_um: float = 15.0  # a contact's displacement across the fascicle, per day and axis
    units_lost: float = 0.02  # of the axons, per day, as many others come into view
    gain_drift: float = 0.10  # of a contact's amplitudes, lognormal sigma per day
    crosstalk_drift: float = 0.25  # of a muscle's potential at a nerve, lognormal sigma per day
    contact_fails: float = 0.004  # probability per contact and day
    impedance_rise: float = 0.004  # of the noise, per day, over the first months

    # Artefacts, per minute.
    movements_per_min: float = 0.5
    discharges_per_min: float = 1.0


DEFAULT = Physiology()
EASY = replace(
    DEFAULT, noise_uv=3.0, effort_spread=0.15, enslaving=0.05, drift_um=5.0, gain_drift=0.04, crosstalk_drift=0.10,
    movements_per_min=0.1, discharges_per_min=0.2,
)  # fmt: skip
HARD = replace(
    DEFAULT, noise_uv=6.0, effort_spread=0.40, enslaving=0.20, drift_um=25.0, gain_drift=0.20, crosstalk_drift=0.50,
    contact_fails=0.02, movements_per_min=2.0, discharges_per_min=4.0,
)  # fmt: skip
PRESETS: dict[str, Physiology] = {"easy": EASY, "default": DEFAULT, "hard": HARD}
COHORT = tuple(range(1, 11))
"""The subjects of every preset whose scores are quoted."""


def person_of(name: str) -> Physiology:
    """The constants of a preset; raises NervehandError for a name that is not one."""
    if name not in PRESETS:
        raise NervehandError(f"preset {name!r} is not known: use one of {', '.join(PRESETS)}")
    return PRESETS[name]
