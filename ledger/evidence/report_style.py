"""How ``report.html`` looks: one sheet of style, whose digest is all that the page's policy allows.

Two sets of colours, each text at least 4.5 to 1 against what it stands on; no colour says anything that a word doesn't.
"""

from __future__ import annotations

import base64
import hashlib

LIGHT = {"page": "#ffffff", "band": "#f1f3f5", "line": "#b8bec5", "text": "#16191d", "quiet": "#4c545c"} | {
    "link": "#0b4a8f",
    "good": "#0a5a2a",
    "bad": "#9b1c1c",
    "odd": "#6d4500",
}
DARK = {"page": "#14171a", "band": "#1f2429", "line": "#4a525a", "text": "#e9ecef", "quiet": "#b3bac1"} | {
    "link": "#8fc1ff",
    "good": "#86d9a3",
    "bad": "#ff9c9c",
    "odd": "#f2c572",
}


def _set(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


STYLE = (
    f":root{{color-scheme:light dark;{_set(LIGHT)}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_set(DARK)}}}}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:92rem;padding:1rem 1.5rem 4rem;background:var(--page);color:var(--text);"
    "font:1rem/1.5 system-ui,sans-serif}"
    "h1{font-size:1.7rem;line-height:1.25}h2{font-size:1.3rem;margin-top:2.5rem;border-bottom:1px solid var(--line)}"
    "h3{font-size:1.1rem;margin-top:2rem}h1,h2,h3,p,li,dd,bdi.l,code{overflow-wrap:anywhere}"
    "a{color:var(--link)}.skip{position:absolute;left:-99rem}.skip:focus{left:1rem}"
    ":focus-visible{outline:3px solid var(--link);outline-offset:2px}"
    "dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem}dl.facts dt{color:var(--quiet)}"
    "dl.facts dd{margin:0}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}"
    "caption{text-align:left;color:var(--quiet);padding:.3rem 0}"
    "th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--line);contain:paint}"
    "thead th{background:var(--band)}tbody th{font-weight:600}"
    "code,pre{font:.85rem/1.45 ui-monospace,monospace}pre{background:var(--band);padding:.8rem;white-space:pre-wrap;"
    "overflow-wrap:anywhere}"
    "bdi{white-space:pre-wrap}.quiet{color:var(--quiet)}"
    ".accepted,.resume{color:var(--good);font-weight:600}"
    ".refused,.malformed,.reconcile,.terminate{color:var(--bad);font-weight:600}"
    ".duplicate,.review,.settle{color:var(--odd);font-weight:600}"
    "b.u{font:600 .8em ui-monospace,monospace;color:var(--bad);border:1px solid;border-radius:.2em;padding:0 .2em;"
    "margin:0 .1em}"
    ".sealed{border:1px dashed;padding:0 .3em;color:var(--quiet)}"
    "section.item{content-visibility:auto;contain-intrinsic-size:auto 30rem}"
    f"@media print{{:root{{{_set(LIGHT)}}}body{{max-width:none;padding:0;font-size:9pt}}nav,.skip{{display:none}}"
    ".scroll{overflow:visible}thead{display:table-header-group}tr{break-inside:avoid}"
    "section.item{content-visibility:visible}h2,h3{break-after:avoid}a{color:inherit;text-decoration:none}}"
)

DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{DIGEST}'; base-uri 'none'; form-action 'none'"
