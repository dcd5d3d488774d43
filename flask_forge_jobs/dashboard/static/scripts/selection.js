// The selection of a list: a box for the page, ranges with shift, and a count.
{
  const boxes = () => [...document.querySelectorAll("#rows tbody [name=_id]")];
  let last = null;
  const show = () => {
    const all = boxes(), count = all.filter(box => box.checked).length;
    const pick = document.getElementById("pick"), picked = document.getElementById("picked");
    if (!pick) return;
    pick.hidden = !all.length;
    pick.checked = count > 0 && count === all.length;
    pick.indeterminate = count > 0 && count < all.length;
    picked.textContent = count ? `${count} on this page` : "Tick jobs to act on them";
  };
  document.addEventListener("click", event => {
    const box = event.target, all = boxes(), at = all.indexOf(box);
    if (at < 0) return;
    const from = all.indexOf(last);
    if (event.shiftKey && from >= 0) {
      all.slice(Math.min(from, at), Math.max(from, at) + 1).forEach(each => { each.checked = box.checked; });
    }
    last = box;
    show();
  });
  document.addEventListener("change", event => {
    if (event.target.id === "pick") boxes().forEach(box => { box.checked = event.target.checked; });
    show();
  });
  addEventListener("pageshow", show);
}
