// The palette: the server's search in a dialog. Arrows choose, Enter goes.
{
  const set = (e, more) => { for (const name in more) e.setAttribute(name, more[name]); return e; };
  const open = () => {
    let at = 0, turn = 0, rows = [];
    const hint = "Page, queue, kind, job id or act", list = set(el("ul", { id: "hits", className: "hits" }), { role: "listbox", "aria-label": "Results" });
    const field = set(el("input", { className: "in", placeholder: hint, ariaLabel: hint, autocomplete: "off" }), { role: "combobox", "aria-expanded": true, "aria-controls": "hits" });
    const mark = by => {
      at = rows.length && (at + by + rows.length) % rows.length;
      rows.forEach((row, place) => { row.ariaSelected = place === at; });
      rows[at]?.scrollIntoView({ block: "nearest" });
      set(field, { "aria-activedescendant": rows[at]?.id || "" });
    };
    const find = async () => {
      const mine = ++turn, root = new URL(html.dataset.root, location), url = new URL("find?only=results&q=" + encodeURIComponent(field.value), root);
      const found = parse(await fetch(url, { headers: { Accept: "text/html" } }).then(r => r.text(), () => ""));
      if (mine !== turn) return;
      list.replaceChildren(...$$("li", found));
      $$("li,form", list).forEach(e => set(e, { role: "none" }));
      rows = $$("a,button", list).map((e, place) => set(e, { role: "option", id: "hit" + place, tabindex: -1 }));
      // Their addresses are relative to the search's own page.
      $$("a", list).forEach(e => { e.href = new URL(e.getAttribute("href"), url); });
      $$("form", list).forEach(e => { set(e, { action: new URL(e.getAttribute("action"), url) })._back.value = location.href.slice(root.href.length); });
      at = 0;
      mark(0);
    };
    field.oninput = find;
    field.onkeydown = e => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[e.key];
      if (!by && e.key !== "Enter") return;
      e.preventDefault();
      if (by) mark(by); else rows[at]?.click();
    };
    show(el("dialog", { className: "palette", ariaLabel: "Search or jump to" }, field, list));
    find();
  };
  keys["/"] = open;
  on("keydown", e => {
    if (!(e.ctrlKey || e.metaKey) || e.key !== "k" || $("dialog[open]")) return;
    e.preventDefault();
    open();
  });
  $$("[data-palette]").forEach(e => { e.hidden = false; e.onclick = open; });
}
