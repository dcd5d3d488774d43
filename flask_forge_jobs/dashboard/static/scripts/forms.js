// Forms are posted in place. Errors stay, and typed values stay as they are.
{
  const send = async (form, by, address) => {
    const body = new URLSearchParams(new FormData(form, by)), box = form.closest("dialog");
    if (by) by.disabled = true;
    try {
      const answer = await post(address, body), { ok, headers } = answer, said = await answer.json();
      box?.close();
      if (!ok) return say(`Nothing was changed: ${said.msg}. Request ${headers.get("X-Request-Id")}.`, "bad");
      form.reset();
      $$("tbody :checked").forEach(i => i.click());
      const to = new URL(html.dataset.root + said.back, location);
      if (to.pathname !== location.pathname) return location = to;
      history.replaceState(null, "", to);
      refresh();
      const undo = d.getElementById(form.dataset.undo);
      say(said.message, said.tone, ...(undo ? [button("Undo", () => undo.requestSubmit())] : said.link ? [el("a", { className: "lk", href: html.dataset.root + said.link }, "Show")] : []));
    } catch {
      say("No answer arrived. Check before a repeat.", "bad");
    } finally {
      if (by) by.disabled = false;
    }
  };
  on("submit", e => {
    const form = e.target, by = e.submitter, address = by?.getAttribute("formaction") || form.getAttribute("action") || "", back = form.elements._back;
    if ("theme" in form.dataset) {
      const all = ["system", "light", "dark"], theme = html.dataset.theme = by.value;
      post(address, new URLSearchParams({ theme }));
      by.value = all[(all.indexOf(theme) + 1) % 3];
      by.title = by.ariaLabel = "Theme: " + theme;
    } else if (e.defaultPrevented || !/\bdo\//.test(address) || !back || new URL(html.dataset.root + back.value, location).pathname !== location.pathname) return;
    else send(form, by, address);
    e.preventDefault();
  });
  // Questions are dialogs by the server, and a page of their own without script.
  on("click", async e => {
    const link = e.target.closest("a[href]"), url = new URL(link || location);
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey || !url.searchParams.has("ask") || url.pathname !== location.pathname) return;
    e.preventDefault();
    url.searchParams.set("only", "ask,keys");
    const box = $("dialog", parse(await fetch(url, { headers: { Accept: "text/html" } }).then(r => r.text(), () => "")));
    if (box) show(box); else location = link;
  });
  part(root => $$("[data-must]", root).forEach(i => (i.oninput = () => { $(".go,.hot", i.form).disabled = i.value.replace(/\D/g, "") !== i.dataset.must; })()));
  const asked = $("dialog[open]");
  if (asked) show(asked, () => history.replaceState(null, "", asked.dataset.back));
}
