// The selection of a list: a box for the page, ranges with shift, and a count.
{
  const boxes = () => $$("#rows [name=_id]"), check = (some, is) => some.forEach(e => { e.checked = is; });
  let last;
  const count = () => {
    const all = boxes(), n = all.filter(e => e.checked).length, pick = $("#pick");
    if (!pick) return;
    pick.hidden = !all[0];
    pick.checked = n && n === all.length;
    pick.indeterminate = n && !pick.checked;
    $("#picked").textContent = n ? n + " on this page" : "Tick jobs to act on them";
  };
  on("click", e => {
    const box = e.target, all = boxes(), at = all.indexOf(box), from = all.indexOf(last);
    if (at < 0) return;
    if (e.shiftKey && from >= 0) check(all.slice(Math.min(from, at), Math.max(from, at) + 1), box.checked);
    last = box;
  });
  on("change", e => {
    if (e.target.id === "pick") check(boxes(), e.target.checked);
    count();
  });
  parts.push(count);
}
