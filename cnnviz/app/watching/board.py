"""The leader board and the stages, as HTML that keeps its height."""

import html
from collections.abc import Mapping, Sequence

from cnnviz.analysis.launches import Standing
from cnnviz.jobs.stages import Step
from cnnviz.wording import percent

MOST_ROWS = 12
MARKS = {"done": "✓", "now": "●", "next": "○", "left out": "–"}


def steps(shown: Sequence[Step]) -> str:
    items = []
    for step in shown:
        bar = f'<div class="bar" style="width:{step.share:.0%}"></div>' if step.share else ""
        current = ' aria-current="step"' if step.state == "now" else ""
        kind = f"{step.stage} {step.state.split()[0]}"
        items.append(
            f'<li class="{kind}"{current}>{bar}<b>{MARKS[step.state]} {html.escape(step.title)}</b>'
            f"<small>{html.escape(step.words) or '&nbsp;'}</small></li>"
        )
    return f'<ol class="watching-steps">{"".join(items)}</ol>'


def board(shown: Sequence[Standing], hues: Mapping[str, str]) -> str:
    """hues: run id → its colour in the chart."""
    rows = "".join(_row(each, hues.get(each.run.id, "transparent")) for each in shown[:MOST_ROWS])
    if (more := len(shown) - MOST_ROWS) > 0:
        rows += f"<tr><td></td><td><small>and {more} more</small></td><td></td><td></td></tr>"
    return (
        '<table class="watching-board"><thead><tr><th class="rank" scope="col">#</th><th scope="col">network</th>'
        '<th class="figure" scope="col" title="test accuracy at the best epoch so far">best</th>'
        '<th class="change" scope="col" title="of the test accuracy, in the last epoch">change</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _row(each: Standing, hue: str) -> str:
    name, remark = html.escape(each.name), html.escape(each.remark)
    accuracy = "–" if each.accuracy is None else percent(each.accuracy)
    change = "–" if each.change is None else f"{100 * each.change:+z.1f}".replace("-", "−")
    change = f'<td class="change" title="{remark}"><small>{remark}</small></td>' if remark else f"<td>{change}</td>"
    return (
        f'<tr><td class="rank">{each.rank or "–"}</td>'
        f'<td title="{name}"><span class="swatch" style="background:{hue}"></span>{name}</td>'
        f'<td class="figure">{accuracy}</td>{change}</tr>'
    )
