// Blocks are refreshed by ?only=, node by node, so that focus and scroll stay. The server
// may offer a stream of those that change; wherever that ends, a request follows.
let refresh = () => location.reload();
{
  const live = $("#live"), pace = $("#live select"), names = $("main").dataset.blocks.split(",");
  let running, stream, offered = live && "stream" in live.dataset, trouble, last = now(), tag = "", failures = 0, before = 5;
  const wait = () => Math.min(60, Math.max(pace.value, 2) * 2 ** failures);
  const why = () => +pace.value ? d.hidden ? "hidden" : $("dialog[open]") ? "a dialog is open" : $("tbody :checked:not(option)") ? "rows are selected" : $(`main :is(${FIELDS}):focus`) ? "a field has the focus" : $("[data-still]")?.dataset.still : "by you";
  // Rows, forms and charts that somebody is at work on.
  const isBusy = e => e.matches?.("tr[id],form,[data-whole]") && (e.matches("[data-whole]:is(:hover,:focus-within)") || $("details[open]", e) || $$("input,textarea", e).some(i => i.value !== i.defaultValue || i.checked !== i.defaultChecked));
  const morph = (a, b) => {
    if (a.isEqualNode(b) || isBusy(a)) return;
    if (a.nodeType !== 1 || a.nodeName !== b.nodeName || a.id !== b.id || "whole" in a.dataset) return a.replaceWith(b);
    const changed = a.matches("tr[id]") && a.textContent !== b.textContent;
    for (const { name } of [...a.attributes]) b.hasAttribute(name) || "open,aria-current".includes(name) || a.removeAttribute(name);
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
    // Its colour fades, and the next refresh removes the mark.
    if (changed) a.dataset.changed = "";
  };
  const take = text => {
    const fresh = parse(text);
    tick(d);
    tick(fresh);
    for (const b of [...fresh.body.children]) {
      const a = d.getElementById(b.id);
      if (a) morph(a, b);
    }
    enliven();
    last = now();
  };
  const turn = () => {
    tick(d);
    const reason = why(), s = (now() - last) / 1e3;
    if (reason) stream = stream?.close();
    else if (stream) s > 3 * wait() && stream.onerror();
    else if (!running && s >= wait()) refresh();
    live.toggleAttribute("data-why", !!reason);
    live.title = $("#updated").textContent = reason ? "paused: " + reason : `updated ${span(s, 1)} ago`;
  };
  const listen = url => {
    let heard;
    url.searchParams.set("stream", pace.value);
    url.searchParams.set("tag", tag);
    stream = new EventSource(url);
    stream.onmessage = e => { heard = true; take(e.data); turn(); };
    stream.onerror = () => { offered = heard; refresh(); };
  };
  if (pace) {
    // One request at a time: a newer one aborts it, so that no late answer is shown.
    refresh = async () => {
      running?.abort();
      stream = stream?.close();
      const mine = running = new AbortController(), url = new URL(location);
      url.searchParams.set("only", names.filter(n => d.getElementById(n)));
      // Where a list begins stays.
      for (const name of ["pin", "after"]) $$(`[data-${name}]`).forEach(e => url.searchParams.set(name, e.dataset[name]));
      const [answer, text] = await fetch(url, { signal: mine.signal, headers: { Accept: "text/html", "If-None-Match": tag } }).then(async r => [r, await r.text()]).catch(() => [{}]), { ok, status } = answer;
      if (mine !== running) return;
      running = trouble?.remove();
      if (ok || status === 304) {
        take(text);
        tag = answer.headers.get("ETag");
        failures = 0;
        if (offered && !why() && pace.value < 9) listen(url);
      } else {
        failures++;
        trouble = say((status === 401 || status === 403 ? "You are signed out. " : "The server does not answer. ") + `Shown is the state of ${utc(last)}. Next try in ${wait()}s.`, "red", "Try now", refresh);
      }
      turn();
    };
    pace.onchange = () => {
      post(pace.form.action, new URLSearchParams(new FormData(pace.form)));
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
