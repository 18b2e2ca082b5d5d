"""The page's style sheet: light, dark and paper."""

from __future__ import annotations

from orchestrator.report.marks import DARK, INK, LIGHT


def style_sheet() -> str:
    """CSS of the page; it refers to nothing outside."""
    light = f"--ink:{INK};{_LIGHT}" + "".join(f"--m{i}:{colour};" for i, colour in enumerate(LIGHT))
    dark = _DARK + "".join(f"--m{i}:{colour};" for i, colour in enumerate(DARK))
    # Dark only on screens: on paper the light values hold, whatever the reader's screen is set to.
    dark_screen = f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    return f":root{{color-scheme:light dark;{light}}}{dark_screen}{_RULES}"


_LIGHT = """
--paper:#fff;--quiet:#59636e;--line:#d8dde3;--panel:#f4f6f8;--band:#00000012;--link:#0b4fae;--good:#00693e;--bad:#a8321a;
"""
_DARK = """
--paper:#14171b;--ink:#e6e9ed;--quiet:#9aa5b1;--line:#343b43;--panel:#1d2228;--band:#ffffff16;--link:#7fb0ff;--good:#5fd39b;
--bad:#ff9277;
"""

_RULES = """
*{box-sizing:border-box}
body{margin:0 auto;padding:24px 28px 64px;max-width:1280px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI","Liberation Sans",sans-serif}
h1{font-size:26px;line-height:1.25;margin:0 0 4px}
h2{font-size:20px;margin:44px 0 8px;padding-top:12px;border-top:2px solid var(--line)}
h3{font-size:16px;margin:26px 0 8px}
p,ul{margin:6px 0;max-width:140ch}
.quiet,figcaption,small,caption,summary,dt{color:var(--quiet)}
small{display:block;font-size:12px;font-weight:400}
.question{font-size:17px}
.answers{background:var(--panel);border-left:4px solid var(--m0);padding:8px 18px;margin:16px 0}
.answers ul{padding-left:18px}.answers h2{border:0;margin:4px 0 0;padding:0;font-size:16px}
nav ul{display:flex;flex-wrap:wrap;gap:2px 18px;list-style:none;padding:0}
a{color:var(--link)}
a:focus-visible,summary:focus-visible,.wide:focus-visible{outline:3px solid var(--m4);outline-offset:2px}
figure{margin:12px 0}
figcaption{font-size:13px;max-width:160ch}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;list-style:none;padding:0;margin:0 0 4px}
.legend svg,.mark svg{width:17px;height:17px;vertical-align:-3px;margin-right:5px}
figure>svg{display:block;width:100%;height:auto;font-size:13px}
svg text{fill:var(--ink)}svg text.quiet{fill:var(--quiet);font-size:12px}
.shade{fill:var(--line);opacity:.45}.grid{stroke:var(--line)}.axis,.tick{stroke:var(--quiet)}
.budget{stroke:var(--quiet);stroke-dasharray:2 4}
.band{fill:var(--band)}.dense{stroke:var(--ink);stroke-width:1.4;stroke-dasharray:7 4}
.front{fill:none;stroke-width:1.8;stroke-linejoin:round;opacity:.7}
.riser{stroke-dasharray:1 3;opacity:.7}.trial{opacity:.38}.bar{stroke-width:1.6;opacity:.8}.cross{stroke-width:2.6}
.point circle,.point polygon{stroke-width:1.8}
.point:hover :is(circle,polygon),.point:focus :is(circle,polygon){stroke:var(--ink);stroke-width:2.8}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(460px,100%),1fr));gap:10px 34px}
.charts figcaption{color:var(--ink);font-weight:600}
.lines{font-size:13px}.lines svg{width:34px;height:18px;vertical-align:-5px}
.curve{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.cells{fill:var(--m0)}.no{stroke:var(--line);stroke-width:1px;vector-effect:non-scaling-stroke}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
caption{text-align:left;font-size:13px;padding-bottom:4px}
@media screen{caption>div{position:sticky;left:0;max-width:calc(min(100vw,1280px) - 58px)}}
th,td{padding:4px 8px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
thead th{border-bottom:2px solid var(--quiet);vertical-align:bottom;line-height:1.25}
.n{text-align:right;white-space:nowrap}
.mark{white-space:nowrap;font-weight:600}
tr:target{background:var(--panel);outline:2px solid var(--m4)}
.matrices{display:flex;flex-wrap:wrap;gap:18px 34px}.matrices .wide{max-width:100%}.matrices table{width:auto}
.matrices th,.matrices td{padding:2px 5px}.turned{vertical-align:bottom}.turned span{writing-mode:vertical-rl;
transform:rotate(180deg);font-weight:400;white-space:nowrap}.sign{text-align:center}.own{background:var(--panel)}
.better{color:var(--good)}.worse{color:var(--bad)}.best{font-weight:700}
details{margin:2px 0}summary{cursor:pointer;font-size:13px}
summary.mark{font-weight:400}summary strong{color:var(--ink)}
code,pre{font:12.5px/1.45 ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.copy{user-select:all;background:var(--panel);padding:1px 6px;border-radius:3px}
pre{background:var(--panel);padding:10px 14px;white-space:pre-wrap}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:6px 0}dd{margin:0;overflow-wrap:anywhere}
@media print{@page{size:A4 landscape;margin:11mm}body{padding:0;max-width:none;font-size:11px}
h1{font-size:20px}h2{font-size:15px;margin-top:20px}h3{font-size:12.5px}.question{font-size:13px}
table,.lines{font-size:9.5px}small,caption,figcaption,code,pre{font-size:9px}th,td{padding:2px 5px}
.family{break-before:page}figure,tr,.answers{break-inside:avoid}h2,h3{break-after:avoid}thead{display:table-header-group}
figure>svg{max-height:104mm}.wide{overflow:visible}.charts{grid-template-columns:1fr 1fr}
nav,summary:not(.mark),#runs{display:none}a{color:inherit;text-decoration:none}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
