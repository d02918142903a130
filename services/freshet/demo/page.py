"""The demo's page: what was recommended before and after the clicks, in one file. Standard library."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
:root{color-scheme:light dark;--ground:#faf9f6;--card:#fff;--ink:#22262b;--soft:#68707a;--line:#e3e1db;
--accent:#0b7285}
@media(prefers-color-scheme:dark){:root{--ground:#15181c;--card:#1e2227;
--ink:#e8eaed;--soft:#9aa3ad;--line:#30363d;
--accent:#3bc9db}
}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
main{max-width:1180px;margin:0 auto;padding:32px 20px 60px}
h1{font-size:28px;margin:0 0 4px}
h2{font-size:18px;margin:34px 0 12px}
p{margin:0 0 8px;color:var(--soft)}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:20px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 18px;min-width:150px}
.tile b{display:block;font-size:24px;color:var(--ink);font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(195px,1fr));gap:14px}
.card{background:var(--card);border:1px solid var(--line);
border-radius:10px;overflow:hidden;display:flex;flex-direction:column}
.card img{width:100%;aspect-ratio:1;display:block;background:#f6f5f1}
.card div.words{padding:10px 12px 12px}
.card h3{font-size:14px;margin:0;line-height:1.3}
.card small{color:var(--soft)}
.new{outline:2px solid var(--accent)}
.bar{display:grid;grid-template-columns:62px 1fr 40px;gap:6px;align-items:center;
font-size:11px;color:var(--soft);margin-top:3px}
.bar i{display:block;height:7px;border-radius:4px;background:var(--line);overflow:hidden}
.bar i b{display:block;height:100%}
.bar em{font-style:normal;text-align:right;font-variant-numeric:tabular-nums}
.reason{font-size:12px;margin:6px 0 4px;color:var(--soft)}
"""
_COLOURS: Mapping[str, str] = {
    "text": "#4c6ef5", "image": "#e8590c", "price": "#2b8a3e", "reviews": "#e6a700",
    "joint": "#9c36b5", "behaviour": "#0c8599", "trending": "#c2255c",
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """One product in a list. `contributions` are (modality, value), `picture` the encoded file."""

    product_id: str
    title: str
    brand: str
    price: float | None
    score: float
    reason: str
    contributions: Sequence[tuple[str, float]]
    picture: bytes


def render(
    shopper: str, before: Sequence[Shown], clicked: Sequence[Shown], after: Sequence[Shown], tiles: Mapping[str, str]
) -> str:
    """The page. Everything that came from outside is escaped; pictures are inside it."""
    known = {shown.product_id for shown in before}
    figures = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in tiles.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Freshet: before and after a click</title><style>{_STYLE}</style><main>"
        f"<h1>One click later</h1><p>What <b>{escape(shopper)}</b> was shown before, what they clicked, and the answer "
        f'that already counts it.</p><div class="tiles">{figures}</div>'
        f"<h2>Before</h2>{_grid(before, frozenset())}<h2>Clicked</h2>{_grid(clicked, frozenset())}"
        f"<h2>After</h2><p>Outlined: not in the list before.</p>"
        f"{_grid(after, frozenset(shown.product_id for shown in after) - known)}</main></html>"
    )


def _grid(products: Sequence[Shown], new: frozenset[str]) -> str:
    most = max((abs(value) for shown in products for _, value in shown.contributions), default=1.0) or 1.0
    return f'<div class="grid">{"".join(_card(shown, shown.product_id in new, most) for shown in products)}</div>'


def _card(shown: Shown, new: bool, most: float) -> str:
    kind = "png" if shown.picture[:4] == b"\x89PNG" else "jpeg"
    picture = base64.b64encode(shown.picture).decode()
    price = f" · €{shown.price:.2f}" if shown.price is not None else ""
    bars = "".join(
        f'<div class="bar"><span>{escape(name)}</span><i><b style="width:{100 * abs(value) / most:.0f}%;'
        f'background:{_COLOURS.get(name, "#868e96")}"></b></i><em>{value:.2f}</em></div>'
        for name, value in shown.contributions
    )
    return (
        f'<article class="card{" new" if new else ""}"><img alt="{escape(shown.title)}" '
        f'src="data:image/{kind};base64,{picture}"><div class="words"><h3>{escape(shown.title)}</h3>'
        f"<small>{escape(shown.brand)}{price}</small>"
        f'<div class="reason">{escape(shown.reason)}</div>{bars}</div></article>'
    )
