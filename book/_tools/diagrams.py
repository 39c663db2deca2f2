"""Draw the book's diagrams: book/diagrams/NAME.svg, which the directive {diagram} sets into a page.

    python book/_tools/diagrams.py            write them
    python book/_tools/diagrams.py --check    exit 1 if one is not as drawn here

A drawing is 360 wide, as a phone is, so that its letters are as large there as they say. Lines and letters take the
page's ink (currentColor), so it follows light and dark. Members are blue dots, non-members vermilion diamonds: colours
as in mialab.chapters.plots, and shapes for grey print. <title> and <desc> are its alternative text.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mialab.chapters.plots import MEMBER, NONMEMBER

FOLDER = Path(__file__).resolve().parents[1] / "diagrams"
WIDTH, LETTERS = 360, 13


class Drawing(NamedTuple):
    """A drawing; title and description are its alternative text."""

    height: float
    title: str
    description: str
    strokes: list[str]


# Strokes


def text(x: float, y: float, words: str, *, anchor: str = "middle", size: float = LETTERS, bold: bool = False) -> str:
    """A line of words on the baseline y; *stars* set a variable in italics."""
    parts = escape(words).split("*")
    inner = "".join(f'<tspan font-style="italic">{part}</tspan>' if i % 2 else part for i, part in enumerate(parts))
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size:g}"{weight}>{inner}</text>'


def box(x: float, y: float, width: float, height: float, *, fill: str = "none", dashed: bool = False) -> str:
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    tint = f'fill="{fill}" fill-opacity="0.14"' if fill != "none" else 'fill="none"'
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" {tint} '
        f'stroke="currentColor" stroke-width="1.2"{dash}/>'
    )


def line(
    points: Iterable[tuple[float, float]], *, ink: str = "currentColor", width: float = 1.2, dash: str = ""
) -> str:
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="{width:g}"{dashes}/>'


def arrow(*points: tuple[float, float], both: bool = False, dash: str = "") -> str:
    """A line through the points with a head at the last one (and, if `both`, at the first)."""
    heads = _head(points[-2], points[-1]) + (_head(points[1], points[0]) if both else "")
    return line(points, dash=dash) + heads


def _head(start: tuple[float, float], end: tuple[float, float]) -> str:
    along = np.subtract(end, start) / np.hypot(*np.subtract(end, start))
    across = np.array([-along[1], along[0]])
    corners = [end, *(np.array(end) - 8 * along + side * 4 * across for side in (1, -1))]
    return f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in corners)}" fill="currentColor"/>'


def member(x: float, y: float, *, size: float = 6, hollow: bool = False) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="{size:g}" {_paint(MEMBER, hollow)}/>'


def nonmember(x: float, y: float, *, size: float = 6, hollow: bool = False) -> str:
    far = 1.2 * size
    corners = f"{x:g},{y - far:g} {x + far:g},{y:g} {x:g},{y + far:g} {x - far:g},{y:g}"
    return f'<polygon points="{corners}" {_paint(NONMEMBER, hollow)}/>'


def _paint(ink: str, hollow: bool) -> str:
    return f'fill="none" stroke="{ink}" stroke-width="2"' if hollow else f'fill="{ink}"'


# Drawings


def game() -> Drawing:
    strokes = [box(8, 8, 160, 84), text(88, 28, "training set *D*", bold=True)]
    strokes += [member(32 + 28 * i, y) for y in (48, 72) for i in range(5)]
    strokes += [box(192, 8, 160, 84, dashed=True), text(272, 28, "fresh from *π*", bold=True)]
    strokes += [nonmember(216 + 28 * i, y) for y in (48, 72) for i in range(5)]
    strokes += [arrow((120, 92), (166, 142)), arrow((272, 92), (198, 142))]
    strokes += [text(134, 136, "*b* = 1", anchor="end"), text(248, 136, "*b* = 0", anchor="start")]
    strokes += ['<circle cx="182" cy="156" r="17" fill="none" stroke="currentColor" stroke-width="1.2"/>']
    strokes += [text(182, 160.5, "coin", size=12), arrow((182, 173), (182, 200))]
    strokes += [box(132, 200, 100, 32), text(182, 221, "record (*x*, *y*)")]
    strokes += [arrow((30, 92), (30, 274)), text(38, 190, "trains", anchor="start")]
    strokes += [box(8, 274, 104, 44), text(60, 301, "model *f*", bold=True)]
    strokes += [arrow((182, 232), (182, 274)), box(152, 274, 200, 44), text(252, 293, "attacker", bold=True)]
    strokes += [text(252, 310, "does not see *b*"), arrow((112, 297), (152, 297), both=True), text(132, 268, "asks")]
    strokes += [arrow((252, 318), (252, 350)), text(252, 368, "score *s*(*x*, *y*)")]
    strokes += [text(252, 388, "*s* ≥ *τ*: says “member”")]
    return Drawing(
        398,
        "The membership game",
        "A trainer draws a training set D and trains the model f on it. A fair coin b decides: at 1 a "
        "record is taken from the training set, a member; at 0 it is drawn afresh from the distribution pi, "
        "a non-member. The attacker gets the record, may ask the model, does not see the coin, and answers "
        "with a score. If the score reaches the threshold tau, the attacker says member.",
        strokes,
    )


def known_evaluated() -> Drawing:
    strokes = [text(130, 18, "known", bold=True), text(276, 18, "evaluated", bold=True)]
    strokes += [box(64, 28, 132, 128, fill="currentColor"), box(210, 28, 132, 128)]
    strokes += [text(1, 64, "members", anchor="start", size=12), text(1, 118, "non-", anchor="start", size=12)]
    strokes += [text(1, 133, "members", anchor="start", size=12)]
    for row, draw in ((0, member), (1, nonmember)):
        for i in range(10):
            x, y = 84 + 23 * (i % 5), 50 + 66 * row + 24 * (i // 5)
            strokes += [draw(x, y), draw(x + 146, y, hollow=True)]
    strokes += [arrow((130, 156), (130, 190)), arrow((276, 156), (276, 190))]
    strokes += [box(64, 190, 132, 56), text(130, 213, "the attack learns,"), text(130, 231, "threshold chosen")]
    strokes += [
        arrow((196, 218), (210, 218)),
        box(210, 190, 132, 56),
        text(276, 213, "scores of records"),
        text(276, 231, "it has not seen"),
    ]
    strokes += [
        arrow((276, 246), (276, 276)),
        box(128, 276, 214, 50),
        text(235, 297, "report: AUC, accuracy,", bold=True),
    ]
    strokes += [text(235, 315, "TPR at a low FPR, intervals")]
    return Drawing(
        336,
        "Known and evaluated records",
        "Members and non-members are each split into two halves. On the known half, drawn with filled "
        "marks, the attack learns and its threshold is chosen. On the evaluated half, drawn with hollow "
        "marks, it only gives scores, and every figure of the report is computed from these: AUC, balanced "
        "accuracy, the true positive rate at a low false positive rate, and their intervals.",
        strokes,
    )


MEMBERS = (0.22, 0.44, 0.57, 0.66, 0.73, 0.79, 0.85, 0.90, 0.94, 0.98)
NONMEMBERS = (0.05, 0.13, 0.28, 0.36, 0.41, 0.50, 0.55, 0.61, 0.76, 0.88)
TAU = 0.64


def threshold() -> Drawing:
    found, accused = sum(s >= TAU for s in MEMBERS), sum(s >= TAU for s in NONMEMBERS)

    def at(score: float) -> float:
        return 20 + 320 * score

    strokes = [
        f'<rect x="{at(TAU):g}" y="26" width="{340 - at(TAU):g}" height="72" fill="currentColor" opacity="0.12"/>'
    ]
    strokes += [member(at(s), 48, size=5.5) for s in MEMBERS] + [nonmember(at(s), 76, size=5) for s in NONMEMBERS]
    strokes += [
        line([(at(TAU), 20), (at(TAU), 100)], width=2.2),
        text(at(TAU) - 6, 17, "threshold *τ*", anchor="end", bold=True),
    ]
    strokes += [
        text(at(TAU) + 6, 17, "says “member”", anchor="start"),
        arrow((20, 98), (344, 98)),
        text(340, 116, "score *s*", anchor="end"),
    ]
    strokes += [arrow((180, 108), (180, 138))]
    strokes += _confusion(found, accused) + [arrow((180, 248), (180, 272))] + _roc(found, accused)
    return Drawing(
        496,
        "From a threshold to a point of the ROC curve",
        f"Ten members and ten non-members on an axis of scores, cut by a threshold. Right of it lie {found} "
        f"members and {accused} non-members. A table counts them: {found} members found and {10 - found} "
        f"missed, {accused} non-members accused and {10 - accused} left alone. So the true positive rate "
        f"is {found} of 10 and the false positive rate {accused} of 10: one point of the ROC curve, a "
        "staircase from the lower left to the upper right.",
        strokes,
    )


def _confusion(found: int, accused: int) -> list[str]:
    strokes = [text(206, 156, "says “member”", size=12), text(305, 156, "says “no”", size=12)]
    cells = ((f"{found} found", f"{10 - found} missed"), (f"{accused} accused", f"{10 - accused} left alone"))
    for row, (name, counts) in enumerate(zip(("10 members", "10 non-members"), cells, strict=True)):
        y = 164 + 40 * row
        mark = (member, nonmember)[row](14, y + 20)
        strokes += [mark, text(28, y + 24.5, name, anchor="start"), box(154, y, 104, 38), box(258, y, 94, 38)]
        strokes += [text(206, y + 24.5, counts[0], bold=True), text(305, y + 24.5, counts[1])]
    return strokes


def _roc(found: int, accused: int) -> list[str]:
    def x(fpr: float) -> float:
        return 62 + 170 * fpr

    def y(tpr: float) -> float:
        return 456 - 170 * tpr

    corners = [(x(0), y(0))]
    tpr = fpr = 0
    for _, is_member in sorted([(s, True) for s in MEMBERS] + [(s, False) for s in NONMEMBERS], reverse=True):
        tpr, fpr = tpr + is_member, fpr + (not is_member)
        corners.append((x(fpr / 10), y(tpr / 10)))
    point = x(accused / 10), y(found / 10)
    return [
        line([(x(0), y(1)), (x(0), y(0)), (x(1), y(0))]),
        line([(x(0), y(0)), (x(1), y(1))], dash="2 4"),
        line(corners, width=2.2),
        line([(x(0), point[1]), point, (point[0], y(0))], dash="4 3"),
        f'<circle cx="{point[0]:g}" cy="{point[1]:g}" r="7" fill="currentColor"/>',
        text(244, point[1] + 22, "one threshold,", anchor="start", bold=True),
        text(244, point[1] + 40, "one point", anchor="start", bold=True),
        arrow((240, point[1] + 18), (point[0] + 11, point[1] + 3)),
        text(147, 474, f"FPR = {accused}/10"),
        text(147, 490, "non-members accused", size=12),
        text(56, point[1] + 4, f"{found}/10", anchor="end"),
        text(56, point[1] - 13, "TPR =", anchor="end"),
        text(62, 278, "members found", anchor="start", size=12),
    ]


def shadows() -> Drawing:
    models, records, lit, side = 8, 8, 4, 25
    inside = np.random.default_rng(3).permuted(np.tile([[True], [False]], (models // 2, records)), axis=0)
    strokes = [
        text(96 + side * records / 2, 16, "records", bold=True),
        text(6, 110, "shadow", anchor="start", bold=True),
    ]
    strokes += [text(6, 127, "models", anchor="start", bold=True)]
    for row in range(models):
        strokes += [text(88, 44 + side * row, str(row + 1), anchor="end", size=12)]
        for column in range(records):
            strokes += [_cell(96 + side * column, 26 + side * row, inside[row, column], lit=column == lit)]
    left, bottom = 96 + side * lit, 26 + side * models
    strokes += [
        f'<rect x="{left - 2}" y="22" width="{side + 3}" height="{side * models + 7}" rx="4" fill="none" '
        'stroke="currentColor" stroke-width="2.2"/>',
        *(
            text(302, 52 + 16 * i, words, anchor="start", size=12)
            for i, words in enumerate(("dark:", "trained", "on it"))
        ),
        arrow((left + side / 2, bottom + 6), (left + side / 2, bottom + 34)),
        text(left + 4, bottom + 26, "one record: 4 IN, 4 OUT", anchor="end", size=12),
    ]
    return Drawing(
        430,
        "The shadow matrix",
        "A table of eight shadow models by eight records; a filled cell means that the record was in the "
        "model's training set, so that each record is in four models and out of four. One record's column "
        "is lit: its four IN models in blue, its four OUT models in vermilion. Below, on an axis of log- "
        "odds, stand the answers of these models on that record: those of the IN models lie around a bell "
        "curve to the right, those of the OUT models around one to the left. The target's answer, a "
        "triangle, falls among the IN models.",
        strokes + _two_bells(bottom + 44),
    )


def _cell(x: float, y: float, inside: bool, *, lit: bool) -> str:
    middle = x + 12, y + 12
    shade = 0.28 if inside and not lit else 0.07
    frame = f'<rect x="{x:g}" y="{y:g}" width="23" height="23" fill="currentColor" opacity="{shade}"/>'
    if not lit:
        return frame
    return frame + (member(*middle, size=7) if inside else nonmember(*middle, size=6.5))


def _two_bells(top: float) -> list[str]:
    base = top + 104

    def at(odds: float) -> float:
        return 150 + 32 * odds

    def bell(centre: float) -> list[tuple[float, float]]:
        places = np.linspace(-3.6, 5.6, 60)
        return [(round(at(o), 1), round(base - 72 * np.exp(-((o - centre) ** 2) / 1.3), 1)) for o in places]

    strokes = [line(bell(-1), ink=NONMEMBER, width=2, dash="6 3"), line(bell(2.6), ink=MEMBER, width=2)]
    strokes += [nonmember(at(o), base - 9) for o in (-2.1, -1.3, -0.7, 0.2)]
    strokes += [member(at(o), base - 9) for o in (1.5, 2.2, 3.0, 4.1)]
    strokes += [text(at(-1), top + 22, "OUT", bold=True), text(at(2.6), top + 22, "IN", bold=True)]
    tip = at(3.5)
    corners = f"{tip:g},{base + 4:g} {tip - 7:g},{base + 17:g} {tip + 7:g},{base + 17:g}"
    strokes += [f'<polygon points="{corners}" fill="currentColor"/>']
    strokes += [text(tip, base + 34, "the target’s answer", bold=True), arrow((20, base), (346, base))]
    return [*strokes, text(22, base + 18, "log-odds", anchor="start")]


def map_of_the_book() -> Drawing:
    pairs = {
        "Playing and measuring": ("1 The game", "2 Reading an audit"),
        "How well can any attack do?": ("3 The best attack", "4 Divergence"),
        "How strong, and on whom?": ("5 LiRA", "6 The attack suite"),
    }
    strokes = [box(110, 8, 140, 32), text(180, 29, "0 Set up"), arrow((180, 40), (180, 66))]
    for row, (title, (first, second)) in enumerate(pairs.items()):
        y = 66 + 92 * row
        strokes += [box(8, y, 344, 74, fill="currentColor"), text(20, y + 21, title, anchor="start", bold=True)]
        strokes += [
            box(20, y + 32, 150, 32),
            text(95, y + 53, first),
            box(190, y + 32, 150, 32),
            text(265, y + 53, second),
        ]
        strokes += [arrow((170, y + 48), (190, y + 48))]
        strokes += [arrow((180, y + 74), (180, y + 92))] if row < 2 else []
    y = 66 + 92 * 3
    strokes += [arrow((98, y - 18), (98, y + 8)), arrow((262, y - 18), (262, y + 8))]
    parts = (8, "7–10 Pruning", "does it protect?", False), (190, "Ensembles", "why do they leak?", True)
    for x, title, words, dashed in parts:
        strokes += [
            box(x, y + 8, 162, 52, dashed=dashed),
            text(x + 81, y + 30, title, bold=True),
            text(x + 81, y + 48, words, size=12),
        ]
    return Drawing(
        y + 70,
        "A map of the book",
        "Chapter 0 sets up. Then come three pairs of chapters, one after the other: the game and reading an "
        "audit; the best attack and divergence; LiRA and the attack suite. From there two parts lead on: "
        "chapter 7, pruning, does it protect; and, still to come, ensembles, why do they leak.",
        strokes,
    )


def min_max() -> Drawing:
    strokes = [box(8, 8, 160, 62), text(88, 28, "members *D*", bold=True)]
    strokes += [member(32 + 28 * i, 52) for i in range(5)]
    strokes += [box(192, 8, 160, 62, dashed=True), text(272, 28, "reference set *D*′", bold=True)]
    strokes += [nonmember(216 + 28 * i, 52) for i in range(5)]
    strokes += [arrow((120, 70), (150, 112)), arrow((250, 70), (216, 112))]
    strokes += [box(88, 112, 184, 50), text(180, 133, "classifier *f*", bold=True)]
    strokes += [text(180, 151, "keeps loss + *γ* · gain small", size=12)]
    strokes += [
        arrow((140, 162), (140, 224)),
        text(132, 190, "answers", anchor="end"),
        text(132, 206, "and labels", anchor="end"),
    ]
    strokes += [arrow((220, 224), (220, 162), dash="4 3"), text(228, 190, "gradient", anchor="start")]
    strokes += [text(228, 206, "of the gain", anchor="start")]
    strokes += [box(88, 224, 184, 50), text(180, 245, "inference network *a*", bold=True)]
    strokes += [text(180, 263, "makes the gain large", size=12)]
    return Drawing(
        282,
        "One round of the min-max game",
        "Members and rows of the reference set go through the classifier f. Its answers, with the labels, go to the "
        "inference network a, which makes its gain large. The gradient of this gain goes back to the classifier, "
        "which keeps its loss plus gamma times the gain small.",
        strokes,
    )


def gadget() -> Drawing:
    """One weight of f, and the random neurons of which a few stand for it."""
    strokes = [text(180, 18, "one weight of *f*", bold=True), text(30, 48.5, "*x*"), text(330, 48.5, "*w x*")]
    strokes += [arrow((42, 44), (306, 44)), text(174, 38, "*w*", size=12), line([(8, 66), (352, 66)], dash="2 4")]
    strokes += [text(180, 90, "two layers of random weights in its place", bold=True)]
    kept = (True, False, True, True, False, True)
    for number, stays in enumerate(kept):
        y = 122 + 34 * number + 16 * (number > 2)
        ink = {"width": 2.2} if stays else {"width": 0.8, "dash": "2 4"}
        strokes += [line([(38, 216), (166, y)], **ink), line([(194, y), (300, 216)], **ink)]
        fill = 'fill-opacity="0.14"' if stays else 'fill-opacity="0"'
        strokes += [f'<circle cx="180" cy="{y}" r="13" {fill} stroke="currentColor" stroke-width="1.2"/>']
        strokes += [text(180, y + 4.5, "+" if number < 3 else "−", bold=stays)]
    strokes += [text(30, 220.5, "*x*"), text(330, 213, "about"), text(330, 229, "*w x*")]
    strokes += [text(70, 128, "weight *a*", size=12), text(286, 128, "weight *b*", size=12)]
    strokes += [text(180, 338, "+ neurons (*a* > 0) answer positive *x*, their *a b* add up to *w*", size=12)]
    strokes += [text(180, 356, "− neurons (*a* < 0) answer negative *x*, their |*a*| *b* to −*w*", size=12)]
    strokes += [text(180, 374, "dotted: pruned", size=12)]
    return Drawing(
        384,
        "One weight from two layers of random weights",
        "Above, an input x is multiplied by a weight w. Below, x goes through six neurons to one output. Each neuron "
        "has a random incoming weight a and a random outgoing weight b. Three neurons have a positive a and answer "
        "positive inputs, three have a negative a and answer negative inputs. Two of each sort are kept, drawn with "
        "thick lines; the others are pruned, drawn dotted. The products of the kept weights add up to about w, so the "
        "output is about w times x.",
        strokes,
    )


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "game": game,
    "known_evaluated": known_evaluated,
    "threshold": threshold,
    "shadows": shadows,
    "min_max": min_max,
    "gadget": gadget,
    "map": map_of_the_book,
}


def drawn(name: str) -> str:
    """The SVG of a drawing, the same to the last byte each time."""
    height, title, description, strokes = DRAWINGS[name]()
    ids = f"diagram-{name}-title diagram-{name}-desc"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
            f'aria-labelledby="{ids}" fill="currentColor" '
            'style="font-family: var(--pst-font-family-base, sans-serif)">',
            f'<title id="diagram-{name}-title">{escape(title)}</title>',
            f'<desc id="diagram-{name}-desc">{escape(description)}</desc>',
            *strokes,
            "</svg>\n",
        ]
    )


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if one is not as drawn here")
    check, stale = parser.parse_args(argv).check, 0
    for name in DRAWINGS:
        path = FOLDER / f"{name}.svg"
        if path.exists() and path.read_text(encoding="utf-8") == drawn(name):
            continue
        stale += 1
        print(f"{path.name} is not as drawn: python book/_tools/diagrams.py" if check else f"wrote {path.name}")
        if not check:
            path.write_text(drawn(name), encoding="utf-8")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
