// Charts: read-out in the legend, one crosshair for charts of the same time, zoom.
{
  let index = null, from = null, over;
  const spanOf = figure => { const [start, width, count] = figure.dataset.x.split(","); return [Date.parse(start), width * 1e3, +count]; };
  const nameOf = (figure, i) => {
    const [start, width, count] = spanOf(figure), at = new Date(start + i * width).toUTCString(), day = at.slice(0, 3) + " " + +at.slice(5, 7);
    return width < 864e5 ? (width * count > 864e5 ? day + " " : "") + at.slice(17, width % 6e4 ? 25 : 22) + " UTC" : day + at.slice(7, 11);
  };
  // The height of a line at a bucket, from its relative path.
  const heightAt = (line, i) => {
    for (const [, x, first, steps = ""] of line.getAttribute("d").matchAll(/M(\d+) (\d+)l?([^M]*)/g)) {
      const ys = steps.match(/-?\d+/g)?.filter((_, k) => k % 2) || [];
      if (i >= x && i - x <= ys.length) return ys.slice(0, i - x).reduce((y, step) => y + +step, +first);
    }
  };
  // One chart at one bucket; null takes the read-out away.
  const put = (figure, i) => {
    const texts = figure.dataset.s.split(";").map(each => each.split("|"));
    const mark = (near, kind, path) => {
      const made = near.cloneNode();
      made.setAttribute("class", kind);
      made.setAttribute("d", path);
      near.parentNode.append(made);
    };
    $$(".cx,.zm", figure).forEach(each => each.remove());
    $$(".legend b", figure).forEach((out, k) => { out.textContent = (i === null ? texts[k].findLast(Boolean) : texts[k][i]) || "–"; });
    $("output", figure).textContent = i === null ? "" : nameOf(figure, i);
    if (i === null) return;
    for (const grid of $$(".gr", figure)) {
      const { height } = grid.parentNode.viewBox.baseVal;
      mark(grid, "cx", `M${i} 0V${height}`);
      if (from !== null) mark(grid, "zm", `M${from} 0H${i}V${height}H${from}z`);
    }
    for (const line of $$(".ln", figure)) {
      const y = heightAt(line, i);
      if (y !== undefined) mark(line, "cx dt " + line.classList.item(line.classList.length - 1), `M${i} ${y}h0`);
    }
  };
  const putAll = (figure, i) => {
    index = i;
    over = i === null ? null : figure;
    if (i === null) from = null;
    $$(".chart").forEach(each => each.dataset.x === figure.dataset.x && put(each, i));
  };
  const zoom = (figure, first, end) => {
    const [start, width] = spanOf(figure), url = new URL(location);
    for (const [name, i] of [["from", Math.floor(first)], ["to", Math.ceil(end)]]) url.searchParams.set(name, new Date(start + i * width).toISOString());
    location = url;
  };
  const on = (type, act) => addEventListener(type, event => {
    const figure = event.target.closest?.(".plot")?.parentNode;
    if (!figure) return act === move && over && putAll(over, null);
    const { left, width } = $(".ch", figure).getBoundingClientRect(), count = spanOf(figure)[2];
    act(figure, Math.max(0, Math.min(count - 1, Math.floor((event.clientX - left) / width * count))), event, count);
  });
  const move = putAll;
  on("pointermove", move);
  on("pointerdown", (figure, i, { button }) => { if (!button) from = i; });
  on("pointerup", (figure, i) => {
    if (from !== null && from !== i) zoom(figure, Math.min(from, i), Math.max(from, i) + 1);
    from = null;
  });
  on("focusout", figure => putAll(figure, null));
  html.addEventListener("pointerleave", () => over && putAll(over, null));
  on("keydown", (figure, _, event, count) => {
    const at = index ?? count, middle = index ?? count / 2, half = { "+": count / 4, "=": count / 4, "-": count }[event.key];
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: count - 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") putAll(figure, null);
    if (half) zoom(figure, middle - half, middle + half);
    if (to === undefined) return;
    event.preventDefault();
    $("output", figure).ariaLive = "polite";
    putAll(figure, Math.max(0, Math.min(count - 1, to)));
  });
  // Series and tables come and go in place.
  addEventListener("click", event => {
    const link = event.target.closest("a[data-go]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.replaceState(null, "", link.href);
    delete link.closest("figure").dataset.whole;
    refresh();
  });
  addEventListener("change", event => event.target.matches("[data-submit]") && event.target.form.requestSubmit());
}
