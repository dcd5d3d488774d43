// The palette: the server's search in a dialog. Arrows choose, Enter goes to the first.
{
  const open = () => {
    let turn = 0;
    const box = palette.cloneNode(true), [field, list] = box.children;
    const find = async () => {
      const mine = ++turn, url = at("find?only=results&q=" + encodeURIComponent(field.value)), answer = await page(url);
      if (mine !== turn) return;
      // Their addresses are relative to the search's own page.
      for (const name of ["href", "action"]) $$(`[${name}]`, answer).forEach(e => e.setAttribute(name, new URL(e.getAttribute(name), url)));
      $$("[name=_back]", answer).forEach(e => { e.value = here(); });
      list.replaceChildren(...$$("li", answer));
      field.focus();
    };
    field.oninput = find;
    box.onkeydown = e => {
      const hits = $$("a,button", list);
      // Home and End move within the text.
      if (e.key[4]) move([field, ...hits], e);
      if (e.key !== "Enter" || d.activeElement !== field) return plain(e) && e.key[1] || field.focus();
      e.preventDefault();
      hits[0]?.click();
    };
    show(box);
    find();
  };
  $$("[data-palette]").forEach(e => { e.onclick = open; });
}
