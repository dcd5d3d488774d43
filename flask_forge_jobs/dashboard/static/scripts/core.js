// What the files share; each further one is a block { ... }, so that its names stay its own.
//   part(root => ...)     called with the page, then with each block that has changed
//   hold(() => reason)    why not to refresh now, or nothing
//   keys.x = () => ...    a key outside of fields; _keys.html lists them
//   say(text, tone)       "good" is a toast; others stay as a bar; returns the box
//   show(dialog, after)   opens a <dialog>; it is removed when it closes
//   post(address, body), refresh(), el(tag, properties, ...nodes), span(seconds, units)
// Names are short, because all scripts together are at most 12,000 bytes.
"use strict";
const d = document, html = d.documentElement, $ = (css, in_ = d) => in_.querySelector(css), $$ = (css, in_ = d) => [...in_.querySelectorAll(css)];
const on = (type, act, at = d) => at.addEventListener(type, act);
const parts = [], holds = [], keys = {}, part = act => parts.push(act), hold = why => holds.push(why);
const el = (tag, more, ...nodes) => { const e = Object.assign(d.createElement(tag), more); e.append(...nodes); return e; };
const span = (s, most = 2) => {
  const out = [];
  for (const [unit, width] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
    const n = Math.floor(s / width);
    s %= width;
    if (n) out.push(n + unit);
    if (out[0] && (!n || !s || out[most - 1])) break;
  }
  return out.join(" ") || "0s";
};
const post = (address, body) => fetch(address, { method: "POST", body, headers: { Accept: "application/json" } });
const parse = text => new DOMParser().parseFromString(text, "text/html");
// Times tick by the server's clock.
let ahead = Date.parse(html.dataset.now) - Date.now();
const now = () => Date.now() + ahead;
const tick = root => $$("[data-ago],[data-age]", root).forEach(t => {
  const s = Math.trunc((now() - Date.parse(t.dateTime)) / 1e3), text = "age" in t.dataset ? span(Math.max(s, 0)) : s > 0 ? span(s, 1) + " ago" : s ? "in " + span(-s) : "now";
  if (t.textContent !== text) t.textContent = text;
});
const enliven = root => { tick(root); parts.forEach(act => act(root)); };
const button = (textContent, onclick) => el("button", { type: "button", className: "btn s", textContent, onclick });
const say = (text, tone, ...nodes) => {
  const good = tone === "good", [fact, rest = ""] = text.split(/(?<=[.:] )(.*)/s), box = el("div", { className: good ? "toast" : "bar-msg i-warn c-" + (tone === "bad" ? "red" : "amber"), tabIndex: -1 }, el("p", {}, el("b", {}, fact), rest), ...nodes, button("Close", () => box.remove()));
  $(good ? "#toasts" : "#messages").append(box);
  if (good) setTimeout(() => box.remove(), 1e4); else box.focus();
  return box;
};
const show = (box, after) => {
  box.open = false;
  box.onclose = () => { box.remove(); after?.(); };
  box.onclick = e => { if (e.target === box || e.target.closest("[data-close]")) { e.preventDefault(); box.close(); } };
  d.body.append(box);
  box.showModal();
  enliven(box);
};
