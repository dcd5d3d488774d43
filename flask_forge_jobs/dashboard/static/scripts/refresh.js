// Blocks are refreshed by ?only=, node by node, so that focus and scroll stay.
let refresh = () => location.reload();
{
  const pace = $("#live select"), live = $("#live"), names = $("main").dataset.blocks.split(",");
  let running, trouble, isOut, last = now(), tag = "", failures = 0, before = 5;
  const wait = () => Math.min(60, Math.max(pace.value, 2) * 2 ** failures);
  const why = () => +pace.value ? isOut ? "signed out" : d.hidden ? "hidden" : $("dialog[open]") ? "a dialog is open" : $("tbody :checked:not(option)") ? "rows are selected" : $("main :is(input:not([type=checkbox]),select,textarea):focus") ? "a field has the focus" : holds.map(f => f()).find(Boolean) : "by you";
  // Rows, forms and charts that somebody is at work on.
  const isBusy = e => e.matches?.("tr[id],form,[data-whole]") && (e.matches("[data-whole]:is(:hover,:focus-within)") || $("details[open]", e) || $$("input,textarea", e).some(i => i.value !== i.defaultValue || i.checked !== i.defaultChecked));
  const morph = (a, b) => {
    if (a.isEqualNode(b) || isBusy(a)) return;
    if (a.nodeType !== 1 || a.nodeName !== b.nodeName || a.id !== b.id || "whole" in a.dataset) return a.replaceWith(b);
    const changed = a.matches("tr[id]") && a.textContent !== b.textContent;
    for (const { name } of [...a.attributes]) b.hasAttribute(name) || "open,aria-current,data-changed".includes(name) || a.removeAttribute(name);
    for (const { name, value } of b.attributes) name === "open" || a.setAttribute(name, value);
    let at = "append" in b.dataset ? null : a.firstChild;
    for (const n of [...b.childNodes]) {
      const same = n.id ? a.children.namedItem(n.id) : at?.id ? null : at;
      if (same && same === at) at = at.nextSibling; else a.insertBefore(same || n, at);
      if (same) morph(same, n);
    }
    while (at) {
      const e = at;
      at = at.nextSibling;
      isBusy(e) || e.remove();
    }
    if (changed) {
      a.dataset.changed = "";
      setTimeout(() => a.removeAttribute("data-changed"), 1200);
    }
  };
  const take = text => {
    const fresh = parse(text);
    tick(d);
    tick(fresh);
    for (const b of [...fresh.body.children]) {
      const a = d.getElementById(b.id);
      if (!a || a.isEqualNode(b)) continue;
      morph(a, b);
      enliven(d.getElementById(b.id));
    }
  };
  const turn = () => {
    tick(d);
    const reason = why(), s = (now() - last) / 1e3;
    if (!running && !reason && s >= wait()) refresh();
    live.toggleAttribute("data-why", !!reason);
    live.title = $("#updated").textContent = reason ? "paused: " + reason : `updated ${span(s, 1)} ago`;
  };
  if (pace) {
    // One request at a time: a newer one aborts it, so that no late answer is shown.
    refresh = async () => {
      running?.abort();
      const mine = running = new AbortController(), url = new URL(location);
      url.searchParams.set("only", names.filter(n => d.getElementById(n)));
      // Where a list begins stays.
      for (const name of ["pin", "after"]) $$(`[data-${name}]`).forEach(e => url.searchParams.set(name, e.dataset[name]));
      try {
        const answer = await fetch(url, { signal: mine.signal, headers: { Accept: "text/html", "If-None-Match": tag } }), text = await answer.text(), { ok, status, headers } = answer, date = Date.parse(headers.get("Date"));
        if (mine !== running) return;
        if (Math.abs(date - now()) > 2e3) ahead = date - Date.now();
        isOut = status === 401 || status === 403;
        if (!ok && status !== 304) throw answer;
        if (ok) take(text);
        tag = headers.get("ETag");
        trouble?.remove();
        failures = 0;
        last = now();
      } catch {
        if (mine !== running) return;
        failures++;
        trouble?.remove();
        trouble = say((isOut ? "You are signed out. " : "The server does not answer. ") + `Shown is the state of ${new Date(last).toISOString().slice(11, 19)} UTC.` + (isOut ? "" : ` Next try in ${wait()} s.`), "bad", button("Try now", refresh));
      }
      running = null;
      turn();
    };
    pace.onchange = () => {
      post(pace.form.action, new URLSearchParams({ refresh: pace.value }));
      turn();
    };
    on("visibilitychange", turn);
    setInterval(turn, 1e3);
    keys.r = refresh;
    keys.p = () => {
      [before, pace.value] = [+pace.value || before, +pace.value ? 0 : before];
      pace.onchange();
    };
  }
}
