"""The style sheet of the report: system fonts, two themes by the reader's preference, narrow screens and paper."""

STYLE = """
:root{--paper:#fbfaf7;--panel:#fff;--ink:#1d1f21;--muted:#63676c;--rule:#e3e0d8;--grid:#ece9e2;--accent:#1f5f99;
--good:#1e7145;--bad:#ad2f2f;--flat:#7a6a1f;--banner:#fdf3d7;
--c0:#6b7280;--c1:#2467a8;--c2:#c2590c;--c3:#1f7a4d;--c4:#7a4fb0;--c5:#a8324a;--c6:#14737f;--c7:#b9770e;
--p0:#2467a8;--p1:#d98324;--p2:#3a9163;--p3:#8a5cc0;--p4:#5fa3d6;--p5:#9cc3e6;--p6:#2a8c92;--p7:#b86a9b;--p8:#8c6d46;
--p9:#c76e6e;--p10:#a9a69d;--pu:#c43c3c;--po:#d9d5cb;
--serif:ui-serif,Charter,"Iowan Old Style",Cambria,Georgia,serif;
--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
--mono:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media (prefers-color-scheme:dark){:root{--paper:#14161a;--panel:#1b1e23;--ink:#e6e4df;--muted:#9a9da3;--rule:#30343b;
--grid:#292d33;--accent:#7db7ea;--good:#6cc596;--bad:#ec8a82;--flat:#d3bf6d;--banner:#37301a;
--c0:#a0a6b0;--c1:#6fb0ea;--c2:#f0974f;--c3:#63c08f;--c4:#b493e6;--c5:#ee8098;--c6:#4fc0cc;--c7:#e3b04b;
--p0:#4f93d2;--p1:#dd9340;--p2:#52b080;--p3:#a884dc;--p4:#7fbdea;--p5:#36618a;--p6:#3fa9b0;--p7:#d08ab5;--p8:#ab8a5e;
--p9:#dd8a8a;--p10:#6d7077;--pu:#e8625e;--po:#3b4048}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 var(--sans);font-variant-numeric:tabular-nums}
main{max-width:1120px;margin:0 auto;padding:40px 24px 80px}
h1,h2{font-family:var(--serif);font-weight:600;letter-spacing:-.01em;line-height:1.15;margin:0}
h1{font-size:2.6rem}h2{font-size:1.65rem}
h3{font-size:1.02rem;margin:28px 0 10px}
h3 small,p small{font-weight:400;color:var(--muted);margin-left:8px;font-size:.85rem}
p{margin:0}a{color:var(--accent)}
.over{font-size:.78rem;letter-spacing:.09em;text-transform:uppercase;color:var(--muted);margin-bottom:8px}
.chain{margin-top:10px;font-size:1.05rem}
.meta{color:var(--muted);font-size:.88rem;overflow-wrap:anywhere}
.lead{color:var(--muted);max-width:68ch;margin:8px 0 18px}
.empty{color:var(--muted);font-style:italic}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;
margin:22px 0 26px;padding:10px 0;border-block:1px solid var(--rule);font-size:.92rem}
nav a{text-decoration:none}nav a:hover{text-decoration:underline}
section{margin-top:52px}
.banner{background:var(--banner);border-radius:8px;padding:12px 16px;margin:16px 0 0;font-size:.93rem}
.banner+.banner{margin-top:8px}.banner ul{margin:4px 0 0;padding-left:20px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,270px),1fr));gap:16px}
.tile,.panel,.card,.chart{background:var(--panel);border:1px solid var(--rule);border-radius:10px}
.tile{padding:16px 20px}.tile h3{margin:0;color:var(--muted);font-weight:500}
.tile p{font-size:.92rem}.tile .figure{font:600 3rem/1.1 var(--serif);margin:2px 0 4px;letter-spacing:-.02em}
.good{color:var(--good)}.bad{color:var(--bad)}.flat{color:var(--flat)}
.verdict{font-weight:500}
.grid{display:grid;gap:16px;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr))}
.grid.wide{grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr))}
.panel{padding:4px 16px 10px;margin-top:16px}.grid .panel{margin-top:0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
caption{text-align:left;font-weight:600;padding:10px 0 8px}
th{font-weight:500;text-align:left}
thead th{color:var(--muted);font-size:.8rem;vertical-align:bottom;border-bottom:1px solid var(--rule)}
th,td{padding:6px 12px 6px 0;vertical-align:middle}
tr>:last-child{padding-right:0}
tbody tr+tr>*{border-top:1px solid var(--grid)}
.number{text-align:right}.number{white-space:nowrap}
.panel tbody th{white-space:nowrap}
th small,td small{color:var(--muted);font-size:.85em;margin-left:9px}
th small{font-weight:400}
.sources td:nth-child(2){min-width:15em}.alarms td:last-child{min-width:min(16em,34vw)}
.strip{display:block;width:100%;min-width:84px;height:22px;overflow:visible}
.comparisons td:nth-child(3){width:32%}.comparisons td:nth-child(2){white-space:nowrap}
.axis-labels{display:flex;justify-content:space-between;min-width:84px;font-weight:400}
.axis-labels i{font-style:normal}
.heat-cell{display:inline-block;min-width:3.6em;padding:2px 8px;border-radius:5px;text-align:right;
background:color-mix(in srgb,var(--c1) calc(var(--heat)*.42),transparent)}
.chart{display:flex;flex-direction:column;justify-content:space-between;
margin:0;padding:12px 14px 8px;break-inside:avoid}
figcaption{display:flex;flex-wrap:wrap;align-items:baseline;gap:0 10px;font-size:.92rem;min-height:1.6em}
.unit{color:var(--muted);font-size:.82rem}
.plot{display:block;width:100%;height:auto;margin-top:4px}
.tick{font:13px var(--sans);fill:var(--muted)}.end{text-anchor:end}.middle{text-anchor:middle}
line.grid{stroke:var(--grid);stroke-width:1}
.axis{stroke:var(--muted);stroke-width:1}
.zero{stroke:var(--muted);stroke-width:1;stroke-dasharray:3 3}
.raw{fill:none;stroke:currentColor;stroke-width:1;opacity:.35}
.bold{fill:none;stroke:currentColor;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}
.link{fill:none;stroke:currentColor;stroke-width:1.2;opacity:.4}
.whisker{stroke:currentColor;stroke-width:2.2;stroke-linecap:round;opacity:.55}
.band{fill:currentColor;opacity:.16}
.dot{fill:currentColor;stroke:var(--panel);stroke-width:1}
.hits circle{fill:currentColor;opacity:0}.hits circle:hover{opacity:.7}
g.c0{color:var(--c0)}g.c1{color:var(--c1)}g.c2{color:var(--c2)}g.c3{color:var(--c3)}g.c4{color:var(--c4)}g.c5{color:var(--c5)}
g.c6{color:var(--c6)}g.c7{color:var(--c7)}
.swatch.c0{background:var(--c0)}.swatch.c1{background:var(--c1)}.swatch.c2{background:var(--c2)}
.swatch.c3{background:var(--c3)}.swatch.c4{background:var(--c4)}.swatch.c5{background:var(--c5)}
.swatch.c6{background:var(--c6)}.swatch.c7{background:var(--c7)}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;list-style:none;margin:0;padding:0;font-size:.82rem;color:var(--muted)}
section>.legend{margin:12px 0}
.swatch{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:5px}
.bar{display:block;width:100%;min-width:130px;height:20px;border-radius:4px}
.ledger td:nth-child(2){width:62%}
.p-forward_backward{fill:var(--p0);background:var(--p0)}.p-generate{fill:var(--p1);background:var(--p1)}
.p-optimizer{fill:var(--p2);background:var(--p2)}.p-reward{fill:var(--p3);background:var(--p3)}
.p-ref_logprobs{fill:var(--p4);background:var(--p4)}.p-old_logprobs{fill:var(--p5);background:var(--p5)}
.p-data{fill:var(--p6);background:var(--p6)}.p-weight_sync{fill:var(--p7);background:var(--p7)}
.p-checkpoint{fill:var(--p8);background:var(--p8)}.p-evaluate{fill:var(--p9);background:var(--p9)}
.p-log{fill:var(--p10);background:var(--p10)}.p-unaccounted{fill:var(--pu);background:var(--pu)}
.p-outside{fill:var(--po);background:var(--po)}
.gates{list-style:none;margin:14px 0 0;padding:0;font-size:.9rem}.gates li+li{margin-top:4px}
details{margin-top:14px}details+.meta{margin-top:20px}summary{cursor:pointer;color:var(--accent);padding:4px 0}
.cards{display:grid;gap:16px;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));align-items:start}
.card{padding:12px 16px;min-width:0}
pre{font:.82rem/1.45 var(--mono);white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0;unicode-bidi:isolate;
max-height:22em;overflow:auto}
.cards.wide{grid-template-columns:1fr}
.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,210px),1fr));gap:10px 18px;margin-top:10px}
.reply{min-width:0}.reply p{font-size:.9rem}.reply small{color:var(--muted);margin-left:8px}
.reply>pre,.card>pre{padding-left:10px;border-left:3px solid var(--rule)}
dl{margin:8px 0 0}dt{font-size:.86rem;font-weight:600;margin-top:8px}dd{margin:0}
.tag{font-size:.75rem;font-weight:600;border:1px solid;border-radius:99px;padding:1px 9px}
.tag.gained{color:var(--good)}.tag.lost{color:var(--bad)}.tag.never{color:var(--muted)}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.lineage{display:flex;gap:8px}.lineage svg{flex:none}
.lineage ol{list-style:none;margin:0;padding:0;min-width:0}
.lineage li{height:68px;display:flex;flex-direction:column;justify-content:center;min-width:0}
.lineage li p{white-space:nowrap;overflow:hidden;text-overflow:ellipsis;max-width:100%}
.lineage code{margin-left:10px;color:var(--muted)}.lineage em{margin-left:10px;color:var(--flat)}
.edge{fill:none;stroke:var(--muted);stroke-width:1.6;opacity:.6}
.node{fill:var(--accent);stroke:var(--paper);stroke-width:2}
rect.node{fill:var(--c2)}
.node.unfinished,.node.not-run{fill:var(--paper);stroke:var(--muted);stroke-width:1.6;stroke-dasharray:3 2}
code{font:.85em var(--mono)}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;font-size:.9rem}
.facts dt{margin:0;font-weight:400;color:var(--muted)}.facts dd{overflow-wrap:anywhere}
.command{margin-bottom:0;background:var(--panel);border:1px solid var(--rule);border-radius:8px;padding:10px 14px}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}
@media (max-width:600px){main{padding:24px 16px 60px}h1{font-size:2.1rem}section{margin-top:40px}
.panel{padding:2px 12px 8px}th,td{padding-right:8px}table{font-size:.83rem}thead th{font-size:.76rem;white-space:normal}
.strip,.axis-labels{min-width:66px}.bar{min-width:80px}.ledger td:nth-child(2){width:auto}
th small,td small{display:block;margin-left:0}.comparisons tr>:nth-child(3){display:none}
.comparisons td:nth-child(2){white-space:normal}
.heat-cell{padding:2px 4px;min-width:3.2em}
.facts{grid-template-columns:1fr}.facts dt{margin-top:6px}}
@media print{:root{--paper:#fff}body{font-size:11pt}main{max-width:none;padding:0}nav{display:none}
section{margin-top:26px}.tile,.panel,.card,.chart,tr{break-inside:avoid}h2,h3,caption{break-after:avoid}pre{max-height:none}
.grid,.grid.wide{grid-template-columns:repeat(2,1fr)}.lead{break-after:avoid;break-inside:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
"""
