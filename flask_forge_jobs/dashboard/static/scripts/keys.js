// Keys; none destroys. Off in fields and dialogs, and by the switch in their list.
{
  let went = -1e3;
  const OFF = "keys-off", row = () => $("tbody tr[aria-current]"), click = css => $(css)?.click();
  const step = by => () => {
    const rows = $$("main tbody tr"), old = row(), next = rows[rows.indexOf(old) + by];
    if (!next) return;
    old?.removeAttribute("aria-current");
    next.ariaCurrent = "true";
    next.scrollIntoView({ block: "nearest" });
  };
  Object.assign(keys, { j: step(1), k: step(-1), x: () => click("tr[aria-current] [type=checkbox]"), Enter: () => click("tr[aria-current] a"), "?": () => click("#help"), t: () => click("form[data-theme] button") });
  part(root => $$("#keys-on", root).forEach(i => {
    i.checked = !localStorage[OFF];
    i.onchange = () => { localStorage[OFF] = i.checked ? "" : 1; };
  }));
  on("keydown", e => {
    const name = e.key, at = e.target, box = name === "Escape" && $("[open]:focus-within>summary");
    // A menu closes, and gives the focus back.
    if (box) { box.click(); box.focus(); }
    if (e.ctrlKey || e.metaKey || e.altKey || $("dialog[open]") || at.matches("input:not([type=checkbox]),select,textarea") || (localStorage[OFF] && name !== "?") || (name === "Enter" && !(row() && at.matches("body,main")))) return;
    const place = e.timeStamp - went < 1e3 && $(`a[data-key="${CSS.escape(name)}"]`), act = place ? () => place.click() : keys[name];
    went = name === "g" ? e.timeStamp : -1e3;
    if (!act) return;
    e.preventDefault();
    act();
  });
}
