// What the files share; each further one is a block { ... }, so that its names stay its own.
//   parts.push(() => ...)    called at the start, and after each change of the page
//   keys.x = () => ...       a key outside of fields; data-do="x" is clicked by one
//   plain(event)             whether no modifier but shift is pressed
//   say(text, tone, label, act)  "good" is a toast, "warn" and "red" are bars that stay
//   show(dialog)             opens a <dialog>; it is removed when it closes
//   asks(url)                whether an address has a dialog of its own
//   ask(address, more)       shows the server's dialog; returns whether there is one
//   move(elements, event)    lets arrows, Home and End move the focus within a list
//   at(path), here()         the address of a path below the mount point; this path
//   page(address, more)      fetches a page as a document
//   post(address, body), refresh(), span(seconds, units)
// All scripts together are at most 12,000 bytes. They run once the page is there: the
// browser loads them before it reads the page, which so is never laid out without style.
"use strict";
const on = addEventListener;
on("DOMContentLoaded", () => {
const d = document, html = d.documentElement, parts = [], keys = {};
const FIELDS = "input:not([type=checkbox]),select,textarea";
const $ = (css, root = d) => root.querySelector(css), $$ = (css, root = d) => [...root.querySelectorAll(css)];
const [message, palette] = $("#parts").content.children;
const plain = e => !(e.ctrlKey || e.metaKey || e.altKey);
const span = (s, parts = 2) => {
  const all = [86400, 3600, 60, 1].map((width, i) => { const n = s / width | 0; s %= width; return n && n + "dhms"[i]; }), at = all.findIndex(Boolean);
  return all.slice(at, at + parts).filter(Boolean).join(" ") || "0s";
};
const at = path => new URL(html.dataset.root + path, location);
const here = () => location.href.slice(at("").href.length);
const utc = at => new Date(at).toISOString().slice(0, 19).replace("T", " ") + " UTC";
const post = (address, body) => fetch(address, { method: "POST", body, headers: { Accept: "application/json" } });
const parse = text => new DOMParser().parseFromString(text, "text/html");
const page = (address, more) => fetch(address, { headers: { Accept: "text/html" }, ...more }).then(r => r.text(), () => "").then(parse);
// Times tick by the server's clock.
const ahead = Date.parse(html.dataset.now) - Date.now();
const now = () => Date.now() + ahead;
const tick = root => $$("[data-ago],[data-age]", root).forEach(e => {
  const s = (now() - Date.parse(e.dateTime)) / 1e3 | 0, text = "age" in e.dataset ? span(s > 0 && s) : s > 0 ? span(s, s < 3600 || 2) + " ago" : s ? "in " + span(-s) : "now";
  e.title ||= utc(e.dateTime);
  if (e.textContent !== text) e.textContent = text;
});
const enliven = () => { tick(d); parts.forEach(act => act()); };
const say = (text, tone, label, act) => {
  const good = tone === "good", [fact, rest = ""] = text.split(/(?<=[.:] )(.*)/s), box = message.cloneNode(true), [more, close] = $$("button", box);
  box.className = good ? "toast" : "bar-msg i-warn c-" + tone;
  $("b", box).append(fact);
  $("p", box).append(rest);
  more.textContent = label;
  more.onclick = () => { box.remove(); act(); };
  act || more.remove();
  close.onclick = () => box.remove();
  $(good ? "#toasts" : "#messages").append(box);
  good ? setTimeout(() => box.remove(), 1e4) : box.focus();
  return box;
};
const asks = url => url.search.match(/[?&](ask|job)=/);
const show = box => {
  box.open = false;
  box.onclose = () => {
    box.remove();
    if (asks(location)) history.replaceState(null, "", box.dataset.back);
  };
  box.onclick = e => { if (e.target.closest("[data-close]")) { e.preventDefault(); box.close(); } };
  d.body.append(box);
  box.showModal();
  enliven();
};
const ask = async (address, more) => {
  const box = $("dialog", await page(address, more));
  if (box) show(box);
  return box;
};
const move = (all, e) => {
  const at = all.indexOf(d.activeElement), to = { ArrowDown: (at + 1) % all.length, ArrowUp: at - 1, Home: 0, End: -1 }[e.key];
  if (to === undefined) return;
  e.preventDefault();
  all.at(to).focus();
};
