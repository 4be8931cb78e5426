"""The style sheet of a report: readable on a phone and in dark mode."""

STYLE = """
:root{color-scheme:light dark;--page:#fcfcfb;--ink:#1c1c1a;--soft:#63635e;--rule:#d9d9d3;
--accent:#0b6e4f;--note:#fff4d6}
@media (prefers-color-scheme:dark){:root{--page:#161715;--ink:#e8e8e3;--soft:#a2a29a;
--rule:#3a3b37;--accent:#5fd0a5;--note:#3b3115}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem;padding-top:.5rem;
border-top:1px solid var(--rule)}h3{font-size:1rem}
header p,figcaption,.lines{color:var(--soft);font-size:.9rem}
h1,p,li{overflow-wrap:anywhere}
.note{background:var(--note);padding:.5rem .75rem;border-radius:.4rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--rule);
vertical-align:top;min-width:4rem}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:.75rem}
svg{width:100%;height:auto;display:block;color:var(--ink)}
svg text{fill:var(--soft);font-size:11px}svg .name{fill:var(--ink);font-weight:600}
.axis{stroke:var(--rule);fill:none}.line{stroke:var(--accent);stroke-width:1.6;fill:none}
.dot{fill:var(--accent)}
figure{margin:1.5rem 0}figure img{max-width:100%;height:auto;display:block;background:#fff;
border-radius:.4rem}
summary{cursor:pointer;margin:1rem 0}
"""
