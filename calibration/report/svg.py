"""A matplotlib figure as one SVG element to put into a page: real text, no ids that clash, the same bytes each time."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast
from xml.dom import minidom

from calibration.report.texts import squeezed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

MM = 1.0 / 25.4
INK, PALE, GRID = "#222222", "#8a8a8a", "#d9d9d9"
BLUE, ORANGE, VERMILION, GREEN, SKY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#56B4E9"
"""Of Okabe and Ito's palette (jfly.uni-koeln.de/color, 2008): told apart by colour-blind readers."""
SMALL = 6.2

_STYLE: dict[str, object] = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # names may hold dollar signs
    "font.family": "DejaVu Sans",
    "font.size": SMALL,
    "axes.linewidth": 0.5,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.labelsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.major.pad": 1.5,
    "ytick.major.pad": 1.5,
    "axes.labelpad": 1.5,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@contextlib.contextmanager
def figure(width_mm: float, height_mm: float, name: str) -> Iterator[Figure]:
    """An empty figure in the report's style; `name` makes its ids its own."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(cast("dict[RcKeyType, object]", {**_STYLE, "svg.hashsalt": name})):
        yield Figure(figsize=(width_mm * MM, height_mm * MM))


def drawn(draw: Callable[[Figure], None], width_mm: float, height_mm: float, name: str, alt: str) -> str:
    """What `draw` draws, as an <svg> element with a text for those who do not see it."""
    buffer = io.BytesIO()
    with figure(width_mm, height_mm, name) as made:
        draw(made)
        made.savefig(buffer, format="svg", metadata=_NO_METADATA, transparent=True)
    return _element(buffer.getvalue(), name, alt)


def axes_in(
    made: Figure, width: float, height: float, *, left: float, right: float, top: float, bottom: float
) -> Axes:
    """Axes with margins in mm, in a figure of `width` by `height` mm."""
    return made.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )


def ramp() -> Colormap:
    """From white to dark blue, ever darker: it says the same in grey."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ramp", ["#f4f7fa", SKY, BLUE, "#00304d"])


def bare(axes: Axes) -> None:
    """No frame and no ticks, their labels stay."""
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def whole_ticks(axes: Axes) -> None:
    """A few whole numbers along x."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def channel_ticks(axes: Axes, names: Sequence[str], width_mm: float, offset: float) -> None:
    """As many names as there is room for, upright, every third millimetre at most."""
    step = max(1, -(-len(names) * 3 // max(1, round(width_mm))))
    shown = range(0, len(names), step)
    said = [squeezed(names[i], 7) for i in shown]
    axes.set_xticks([i + offset for i in shown], said, rotation=90, size=SMALL - 0.5)


def _element(data: bytes, name: str, alt: str) -> str:
    document = minidom.parseString(data)
    root = document.documentElement
    assert root is not None  # matplotlib writes one
    for tag in ("metadata", "style"):
        for node in list(root.getElementsByTagName(tag)):
            if node.parentNode is not None:
                node.parentNode.removeChild(node)
    for node in [root, *root.getElementsByTagName("*")]:
        # As attributes: half the size, and a reader of the page's style takes no notice.
        for declaration in filter(None, node.getAttribute("style").split(";")):
            key, _, value = declaration.partition(":")
            node.setAttribute(key.strip(), value.strip())
        if node.hasAttribute("style"):
            node.removeAttribute("style")
        for key, value in list(node.attributes.items()):
            if key == "id":
                node.setAttribute(key, f"{name}-{value}")
            elif key == "xlink:href" and value.startswith("#"):
                node.removeAttribute(key)
                node.setAttribute("href", f"#{name}-{value[1:]}")
            elif "url(#" in value:
                node.setAttribute(key, value.replace("url(#", f"url(#{name}-"))
    if root.hasAttribute("xmlns:xlink"):
        root.removeAttribute("xmlns:xlink")
    root.setAttribute("role", "img")
    root.setAttribute("aria-label", alt)
    root.setAttribute("stroke-linejoin", "round")
    return root.toxml()
