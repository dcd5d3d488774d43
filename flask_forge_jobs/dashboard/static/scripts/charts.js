// Charts: read-out in the legend, one crosshair for charts of the same time, zoom.
{
  let index, from, over;
  const scale = figure => figure.dataset.x.split(",").map(Number);
  const within = (i, count) => Math.max(0, Math.min(count - 1, i | 0));
  // One chart at one bucket; none takes the read-out away.
  const put = (figure, i) => {
    const [start, width] = scale(figure), series = figure.dataset.s.split(";");
    $$(".cx,.zm", figure).forEach(e => e.remove());
    // The values in the legend, and their time.
    $$("[data-v]", figure).forEach((out, k) => {
      out.textContent = i >= 0 ? k in series ? series[k].split("|")[i] || "–" : utc(start + i * width) : out.dataset.v;
    });
    if (i >= 0) $$(".gr", figure).forEach(grid => {
      const { height } = grid.parentNode.viewBox.baseVal, mark = (name, path) => {
        const e = grid.cloneNode();
        e.setAttribute("class", name);
        e.setAttribute("d", path);
        grid.parentNode.append(e);
      };
      mark("cx", `M${i} 0V${height}`);
      if (from >= 0) mark("zm", `M${from} 0H${i}V${height}H${from}z`);
    });
  };
  // A pointer reads in silence; with keys, a screen reader says what is read.
  const read = (figure, i, e) => {
    index = i;
    over = i >= 0 ? figure : from = i;
    $("figcaption", figure).ariaLive = e || !over ? "off" : "polite";
    $$(`[data-x="${figure.dataset.x}"]`).forEach(e => put(e, i));
  };
  const zoom = (figure, first, end) => {
    const [start, width] = scale(figure), url = new URL(location), at = (name, i) => url.searchParams.set(name, new Date(start + i * width).toISOString());
    at("from", Math.floor(first));
    at("to", Math.ceil(end));
    location = url;
  };
  const hear = (type, act) => on(type, e => {
    const figure = e.target.closest?.(".plot")?.parentNode;
    if (!figure) return act === read && over && read(over);
    const { left, width } = $(".ch", figure).getBoundingClientRect(), count = scale(figure)[2];
    act(figure, within((e.clientX - left) / width * count, count), e, count);
  });
  hear("pointermove", read);
  hear("pointerdown", (figure, i, e) => { if (!e.button) from = i; });
  hear("pointerup", (figure, i) => {
    if (from >= 0 && from !== i) zoom(figure, Math.min(from, i), Math.max(from, i) + 1);
    from = -1;
  });
  hear("focusout", figure => read(figure));
  hear("keydown", (figure, _, e, count) => {
    const at = index ?? count, half = { "+": count / 4, "-": count }[e.key], to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: count }[e.key];
    if (!plain(e)) return;
    if (e.key === "Escape") read(figure);
    if (half) zoom(figure, (index ?? count / 2) - half, (index ?? count / 2) + half);
    if (to === undefined) return;
    e.preventDefault();
    read(figure, within(to, count));
  });
}
