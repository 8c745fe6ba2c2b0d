"""The page: HTML with its style inside, filled by Jinja2. One sheet of A4, on paper and on a screen."""

from __future__ import annotations

STYLE = """
@page { size: A4; margin: 8mm 9mm; }
* { box-sizing: border-box; }
html { background: #ffffff; }
body { margin: 0 auto; padding: 4mm; width: 200mm; color: #222222;
  font: 7pt/1.27 "DejaVu Sans", Verdana, sans-serif; }
h1, h2, p, ul, ol, dl, dd, table { margin: 0; padding: 0; }
h1 { font-size: 13pt; line-height: 1.1; }
h2 { font-size: 8.2pt; color: #00304d; border-bottom: 0.35mm solid #0072b2; padding-bottom: 0.4mm;
  margin-bottom: 0.9mm; }
svg { display: block; }
.sheet { width: 192mm; height: 280mm; overflow: hidden; }
.row { display: flex; gap: 5mm; }
.top { height: 7.5mm; justify-content: space-between; align-items: flex-start; }
.top p { color: #555555; text-align: right; max-width: 110mm; }
.verdict { height: 17.5mm; display: flex; align-items: center; gap: 4mm; padding: 1mm 3mm; border: 0.5mm solid;
  border-left-width: 3mm; margin-bottom: 1.5mm; overflow: hidden; }
.ready { border-color: #009e73; background: #eef8f4; }
.usable { border-color: #e69f00; background: #fdf6e7; }
.not_ready { border-color: #d55e00; background: #fdf0e8; }
.not_scored { border-color: #8a8a8a; background: #f3f3f3; }
.sign { font-size: 21pt; line-height: 1; width: 9mm; text-align: center; flex: none; }
.said { flex: 1; }
.said strong { display: block; font-size: 13.5pt; line-height: 1.15; margin-bottom: 0.5mm; }
.big { flex: none; text-align: center; width: 27mm; }
.big b { display: block; font-size: 14pt; line-height: 1.1; }
.big span { display: block; font-size: 6.2pt; line-height: 1.2; color: #444444; }
.advice { width: 92mm; height: 40mm; overflow: hidden; }
.advice ol { padding-left: 4.2mm; }
.advice li { margin-bottom: 0.6mm; }
.done { width: 95mm; height: 40mm; overflow: hidden; }
dl { display: grid; grid-template-columns: 16mm 79mm; row-gap: 0.5mm; }
dt { color: #555555; }
.scores { width: 132mm; height: 57mm; overflow: hidden; }
.compared { width: 55mm; height: 57mm; overflow: hidden; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
.scores th:nth-child(1) { width: 30mm; }
.scores thead .n { width: 19mm; }
.scores thead .n + .n { width: 13mm; }
.compared thead .n { width: 11.5mm; }
.compared thead th:nth-child(1) { width: 19mm; }
th { font-weight: normal; color: #555555; text-align: left; }
th, td { padding: 0.3mm 1mm 0.3mm 0; vertical-align: top; border-bottom: 0.15mm solid #dddddd; }
tbody th { color: #222222; font-weight: bold; white-space: nowrap; }
.n { text-align: right; white-space: nowrap; padding-right: 2.2mm; }
.small, .caption { font-size: 6.2pt; line-height: 1.24; color: #444444; }
.scores td.small { padding: 0.5mm 0 0.3mm 1mm; }
.wide { font-size: 6.2pt; padding: 0.5mm 0 0.3mm; }
.scores p { margin-top: 0.8mm; }
.traces { height: 50.5mm; overflow: hidden; }
.half { width: 93.5mm; height: 52mm; overflow: hidden; }
.third { width: 60.6mm; height: 51mm; overflow: hidden; }
.missing { color: #555555; padding: 4mm 0; }
.foot { height: 3mm; overflow: hidden; white-space: nowrap; font-size: 5.6pt; color: #555555; }
@media screen and (min-width: 1060px) { body { zoom: 1.35; } }
@media print { body { padding: 0; width: 192mm; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="{{ language }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{% if made_at %}<meta name="dcterms.created" content="{{ made_at }}">
{% endif %}<meta name="generator" content="nervehand">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<main class="sheet">
<header class="row top">
<h1>{{ t["page.title"] }}</h1>
<p>{{ headline }}</p>
</header>
<section class="verdict {{ verdict }}" aria-label="{{ t["verdict." + verdict] }}">
<div class="sign" aria-hidden="true">{{ sign }}</div>
<p class="said"><strong>{{ t["verdict." + verdict] }}</strong>{{ t["verdict." + verdict + ".why"] }}</p>
{% for one in bigs %}<p class="big"><b>{{ one.value }}</b><span>{{ one.what }}</span></p>
{% endfor %}</section>
<div class="row">
<section class="advice">
<h2>{{ t["page.what_to_do"] }}</h2>
<ol>
{% for text in advice %}<li>{{ text }}</li>
{% endfor %}</ol>
</section>
<section class="done">
<h2>{{ t["page.what_was_done"] }}</h2>
<dl>
{% for what, text in done %}<dt>{{ what }}</dt><dd>{{ text }}</dd>
{% endfor %}</dl>
</section>
</div>
<div class="row">
<section class="scores">
<h2>{{ t["page.scores"] }}</h2>
{% if measures %}<table>
<thead><tr><th scope="col">{{ t["table.measure"] }}</th><th scope="col" class="n">{{ t["table.steady"] }}</th>
<th scope="col" class="n">{{ t["table.all"] }}</th><th scope="col" class="n">{{ t["table.chance"] }}</th>
<th scope="col">{{ t["table.meaning"] }}</th></tr></thead>
<tbody>
{% for one in measures %}<tr><th scope="row">{{ one.name }}</th>
{%- if one.wide %}<td colspan="3" class="wide">{{ one.wide }}</td>
{%- else %}<td class="n"><b>{{ one.steady }}</b></td><td class="n">{{ one.all }}</td><td class="n">{{ one.chance }}</td>
{%- endif %}<td class="small">{{ one.meaning }}</td></tr>
{% endfor %}</tbody>
</table>
{% endif %}<p class="small">{{ how }}</p>
</section>
<section class="compared">
<h2>{{ t["page.compared"] }}</h2>
{% if changes %}<table>
<thead><tr><th scope="col"></th><th scope="col" class="n">{{ t["compare.before"] }}</th>
<th scope="col" class="n">{{ t["compare.now"] }}</th><th scope="col"></th></tr></thead>
<tbody>
{% for one in changes %}<tr><td>{{ one.name }}</td><td class="n">{{ one.before }}</td><td class="n">{{ one.now }}</td>
<td>{{ one.word }}</td></tr>
{% endfor %}</tbody>
</table>
{% endif %}{% for text in compared %}<p class="small">{{ text }}</p>
{% endfor %}</section>
</div>
<section class="traces">
<h2>{{ t["page.traces"] }}</h2>
{{ chart("traces") }}
</section>
<div class="row">
<section class="half">
<h2>{{ t["page.confusion"] }}</h2>
{{ chart("confusion") }}
</section>
<section class="half">
<h2>{{ t["page.tuning"] }}</h2>
{{ chart("tuning") }}
</section>
</div>
<div class="row">
<section class="third">
<h2>{{ t["page.learning"] }}</h2>
{{ chart("learning") }}
</section>
<section class="third">
<h2>{{ t["page.channels"] }}</h2>
{{ chart("channels") }}
</section>
<section class="third">
<h2>{{ t["page.trials"] }}</h2>
{{ chart("trials") }}
</section>
</div>
<p class="foot">{{ footer }}</p>
</main>
</body>
</html>
"""
