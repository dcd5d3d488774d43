// Forms are posted in place. Errors stay, and typed values stay as they are.
{
  const send = async (form, by, body) => {
    const box = form.closest("dialog");
    if (by) by.disabled = true;
    try {
      const answer = await post(form.getAttribute("action"), body), said = await answer.json();
      box?.close();
      if (!answer.ok) return say(`Nothing was changed: ${said.msg}. Request ${answer.headers.get("X-Request-Id")}.`, "red");
      form.reset();
      $$("tbody :checked").forEach(e => e.click());
      const to = at(said.back);
      if (to.pathname !== location.pathname) return location = to;
      history.replaceState(null, "", to);
      refresh();
      const [label, undo] = said.undo || ["Show"];
      say(said.message, said.tone, label, undo ? () => send(form, 0, new URLSearchParams(undo)) : said.link && (() => location = at(said.link)));
    } catch {
      say("No answer. Check before a retry.", "red");
    } finally {
      if (by) by.disabled = false;
    }
  };
  on("submit", e => {
    const form = e.target, by = e.submitter, body = new URLSearchParams(new FormData(form, by)), back = form.elements._back;
    if (form.elements.back) form.elements.back.value = here();
    if (!back || at(back.value).pathname !== location.pathname) return;
    e.preventDefault();
    if (form.id !== "list") return send(form, by, body);
    by.closest("dialog")?.close();
    ask(form.action, { method: "POST", body });
  });
  on("change", e => e.target.matches("[data-submit]") && e.target.form.requestSubmit());
  // Questions are dialogs by the server, and a page of their own without script. Series
  // and tables of charts come and go in place.
  on("click", async e => {
    const link = e.target.closest("a[href]"), url = new URL(link || location), goes = link?.matches("[data-go]");
    if (!plain(e) || e.shiftKey || url.pathname !== location.pathname || !(goes || link && asks(url))) return;
    e.preventDefault();
    if (goes) {
      history.replaceState(null, "", url);
      delete link.closest("figure").dataset.whole;
      return refresh();
    }
    url.searchParams.set("only", "ask,keys");
    // A job beside its list has an address to go back from.
    if (!await ask(url)) location = link;
    else if (url.search.includes("job=")) history.pushState(null, "", link);
  });
  on("popstate", () => {
    $("dialog[open]")?.close();
    if (asks(location)) ask(location);
  });
  const asked = $("dialog[open]");
  if (asked) show(asked);
}
