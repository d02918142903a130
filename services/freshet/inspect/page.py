"""An inspection as a page of its own: one file, pictures inside it, nothing fetched. Standard library."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape

from freshet.domain.products import Product
from freshet.inspect.prices import out_of_line, price_line
from freshet.inspect.product import Inspection, Part
from freshet.inspect.scan import Neighbour

_STYLE = """
:root{color-scheme:light dark;--ground:#f5f7f7;--card:#fff;--ink:#18232b;--soft:#53626d;--line:#e1e7e9;--accent:#0d7d78;
--warn:#a8540a}
@media(prefers-color-scheme:dark){:root{--ground:#0e1417;--card:#151d21;--ink:#e6edef;--soft:#a3b1b9;--line:#263238;
--accent:#4cc7bd;--warn:#f0a45d}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:25px;margin:0}h2{font-size:17px;margin:30px 0 10px}h3{font-size:15px;margin:0}
p,small,dt,th{color:var(--soft)}p{margin:3px 0}.out{color:var(--warn);font-weight:600}
.top{display:flex;gap:22px;flex-wrap:wrap}
.top img,.top .none{width:190px;height:190px;border-radius:12px}
img{object-fit:cover;display:block;background:#fff}
.none{background:var(--line)}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px;margin-bottom:12px}
.row{display:grid;grid-template-columns:repeat(5,minmax(0,1fr));gap:12px;margin-top:10px}
.row img,.row .none{width:100%;aspect-ratio:1;border-radius:8px}
.row div{font-size:13px;line-height:1.35;overflow-wrap:anywhere}
.row b{font-variant-numeric:tabular-nums;color:var(--accent)}
table{border-collapse:collapse;font-size:13.5px;width:100%}
td,th{text-align:left;padding:5px 12px 5px 0;border-top:1px solid var(--line);overflow-wrap:anywhere;vertical-align:top}
th{font-weight:500}
td:first-child,td:last-child{white-space:nowrap}
.new td:first-child{color:var(--accent);font-weight:600}.scroll{overflow-x:auto}
@media(max-width:600px){.row{grid-template-columns:repeat(2,minmax(0,1fr))}}
"""
_EXPLAINED: Mapping[str, str] = {
    "text": "what the words mean, as learned from what shoppers choose together",
    "terms": "the words themselves",
    "image": "the picture",
    "price": "the price, relative to its category",
    "reviews": "stars and words of reviews",
    "joint": "the learned fusion of all modalities",
}


def render(found: Inspection, products: Mapping[str, Product], pictures: Mapping[str, str]) -> str:
    """`products` and `pictures` (data: addresses) are by id. Everything that came from outside is escaped."""
    about = found.product
    facts = [about.brand, " › ".join(about.categories), _price(about)]
    state = "available" if about.available and found.live else "not available" if found.live else "removed"
    name = escape(about.title or about.product_id)
    told = "".join(f"<p>{escape(line)}</p>" for line in found.missing)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body><main>"
        f'<div class="top">{_picture(about.product_id, pictures)}<div><h1>{name}</h1>'
        f"<p>{escape(' · '.join(fact for fact in facts if fact))}</p>"
        f"<p>{escape(about.product_id)} · number {found.number} · {state} · {sum(found.review_stars)} reviews</p>"
        f"{_expected(found)}<p>model {escape(found.model_version)}</p>{told}</div></div>"
        f"{_changes(found)}"
        f"<h2>What is near, by each modality</h2>{''.join(_part(part, products, pictures) for part in found.parts)}"
        f"{_disagreements(found)}{_duplicates(found, products, pictures)}</main></body></html>\n"
    )


def _expected(found: Inspection) -> str:
    if found.price is None:
        return ""
    return f"<p{' class=out' if out_of_line(found.price) else ''}>{escape(price_line(found.price))}</p>"


def _changes(found: Inspection) -> str:
    rows = "".join(
        f'<tr class="{"new" if field.newest else ""}"><td>{escape(field.name)}</td><td>{escape(field.value[:400])}</td>'
        f"<td>{moment(field.version.event_time_us)}</td></tr>"
        for field in found.fields
    )
    source = found.source
    place = f" The newest was {escape(source.topic)}/{source.partition}/{source.offset}." if source else ""
    versions = "".join(
        f"<p>Model {escape(other.model_version)} is stored too: made of "
        f"{'other ' + escape(', '.join(other.inputs_differ)) if other.inputs_differ else 'the same inputs'}.</p>"
        for other in found.other_versions
    )
    return (
        f'<h2>What changed last</h2><div class="card scroll"><p>Set by the newest change: coloured.{place}</p>'
        f"<table><tr><th>field</th><th>value</th><th>since</th></tr>{rows}</table>{versions}</div>"
    )


def _part(part: Part, products: Mapping[str, Product], pictures: Mapping[str, str]) -> str:
    name = part.modality.value
    notes = [_EXPLAINED.get(name, ""), f"length {part.length:.2f}" if part.length else "absent"]
    if part.joint_without is not None:
        notes.append(f"the joint vector without it: cosine {part.joint_without:.3f}")
    near = "".join(_neighbour(each, products, pictures) for each in part.neighbours)
    row = f'<div class="row">{near}</div>' if near else ""
    said = escape(" · ".join(note for note in notes if note))
    return f'<div class="card"><h3>{name}</h3><small>{said}</small>{row}</div>'


def _neighbour(each: Neighbour, products: Mapping[str, Product], pictures: Mapping[str, str]) -> str:
    known = products.get(each.product_id)
    title = (known.title if known else "") or each.product_id
    price = _price(known) if known else ""
    return (
        f"<div>{_picture(each.product_id, pictures)}<b>{each.cosine:.3f}</b> {escape(title)}"
        f"<br><small>{escape(' · '.join(filter(None, (each.product_id, price))))}</small></div>"
    )


def _disagreements(found: Inspection) -> str:
    if not found.disagreements:
        return ""
    rows = "".join(
        f"<tr><td>{one.value} and {other.value}</td><td>{share:.0%}</td></tr>"
        for (one, other), share in sorted(found.disagreements.items(), key=lambda item: -item[1])
    )
    return (
        '<h2>Where modalities disagree</h2><div class="card"><p>Share of the ten nearest by one that are not among the '
        "ten nearest by the other. Words and picture that share none may belong to two products.</p>"
        f"<table>{rows}</table></div>"
    )


def _duplicates(found: Inspection, products: Mapping[str, Product], pictures: Mapping[str, str]) -> str:
    if not found.duplicates:
        return "<h2>Near-identical products</h2><p>None.</p>"
    near = "".join(_neighbour(each, products, pictures) for each in found.duplicates)
    return f'<h2>Near-identical products</h2><div class="card"><div class="row">{near}</div></div>'


def _picture(product_id: str, pictures: Mapping[str, str]) -> str:
    address = pictures.get(product_id)
    return f'<img src="{escape(address)}" alt="">' if address else '<div class="none"></div>'


def _price(product: Product) -> str:
    return "" if product.price is None else f"{product.price:,.2f} {product.currency}".strip()


def moment(time_us: int) -> str:
    """A time in microseconds, in UTC and to the second."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
