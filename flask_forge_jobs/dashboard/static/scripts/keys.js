// Keys; none destroys. Off in fields and dialogs, and by the switch in their list.
{
  let went = -1e3;
  const step = by => () => {
    const rows = $$("main tbody tr"), old = $("tbody tr[aria-current]"), next = rows[rows.indexOf(old) + by];
    if (!next) return;
    if (old) old.ariaCurrent = null;
    next.ariaCurrent = "true";
    next.scrollIntoView({ block: "nearest" });
  };
  keys.j = step(1);
  keys.k = step(-1);
  parts.push(() => $$("#keys-on").forEach(e => {
    e.checked = !localStorage.keysOff;
    e.onchange = () => { localStorage.keysOff = e.checked ? "" : 1; };
  }));
  on("keydown", e => {
    const jumps = !plain(e) && e.key === "k", name = jumps ? "/" : plain(e) && e.key, field = e.target;
    const menu = $(".menu[open]:focus-within>summary");
    // A menu closes, and gives the focus back.
    if (menu && name === "Escape") { menu.click(); menu.focus(); }
    if (menu && !field.matches(FIELDS)) move($$("summary,a,.btn", menu.parentNode), e);
    if ($("dialog[open]") || !jumps && (field.matches(FIELDS) || localStorage.keysOff && name !== "?" || name === "Enter" && !field.matches("body,main"))) return;
    const goes = e.timeStamp - went < 1e3, css = { x: "tr[aria-current] [type=checkbox]", Enter: "tr[aria-current] a" }[name] || `[data-${goes ? "key" : "do"}="${CSS.escape(name)}"]`;
    went = name === "g" ? e.timeStamp : -1e3;
    const act = !goes && keys[name] || $(css);
    if (!act) return;
    e.preventDefault();
    act.click ? act.click() : act();
  });
}
