// The palette: the server's search in a dialog. Arrows choose, Enter goes to the first,
// but does not act.
{
  const open = () => {
    let turn = 0;
    const box = palette.cloneNode(true), [field, list] = box.children;
    const find = async () => {
      const mine = ++turn, answer = await page(at("find?only=results&q=" + encodeURIComponent(field.value)));
      if (mine !== turn) return;
      // Their addresses are relative to the search's own page.
      for (const name of ["href", "action"]) $$(`[${name}]`, answer).forEach(e => e.setAttribute(name, at(e.getAttribute(name))));
      $$("[name=_back]", answer).forEach(e => e.value = here());
      list.replaceChildren(...$$("li", answer));
      field.focus();
    };
    field.oninput = find;
    list.onclick = () => box.close();
    box.onkeydown = e => {
      // Home and End move within the text.
      if (e.key[4]) move([field, ...$$("a,button", list)], e);
      if (e.key !== "Enter" || e.target !== field) plain(e) && e.key[1] || field.focus();
      else $("a:not(:has(span))", list)?.click();
    };
    show(box);
    return !find();
  };
  $$("[data-palette]").forEach(e => e.onclick = open);
}
