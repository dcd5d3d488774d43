// The selection of a list: a box for the page, ranges with shift, a count, and questions in place.
{
  const boxes = () => $$("#rows [name=_id]"), tick = (some, is) => some.forEach(b => { b.checked = is; });
  let last;
  const count = () => {
    const all = boxes(), n = all.filter(b => b.checked).length, pick = $("#pick");
    if (!pick) return;
    pick.hidden = !all[0];
    pick.checked = n && n === all.length;
    pick.indeterminate = n && !pick.checked;
    $("#picked").textContent = n ? n + " on this page" : "Tick jobs to act on them";
  };
  on("click", e => {
    const box = e.target, all = boxes(), at = all.indexOf(box), from = all.indexOf(last);
    if (at < 0) return;
    if (e.shiftKey && from >= 0) tick(all.slice(Math.min(from, at), Math.max(from, at) + 1), box.checked);
    last = box;
  });
  on("change", e => {
    if (e.target.id === "pick") tick(boxes(), e.target.checked);
    count();
  });
  on("submit", async e => {
    const form = e.target, by = e.submitter;
    if (form.id !== "list") return;
    e.preventDefault();
    const body = new URLSearchParams(new FormData(form, by)), box = $("dialog", parse(await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } }).then(r => r.text(), () => "")));
    by.closest("dialog")?.close();
    if (box) show(box);
  });
  part(count);
}
