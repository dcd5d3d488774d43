// Charts: read-out in the legend, one crosshair for charts of the same time, zoom.
{
  let index = null, from = null, over;
  const scale = figure => figure.dataset.x.split(",").map(Number);
  const within = (i, count) => Math.max(0, Math.min(count - 1, i | 0));
  // One chart at one bucket; null takes the read-out away.
  const put = (figure, i) => {
    const [start, width] = scale(figure), out = $("output", figure), series = figure.dataset.s.split(";");
    out.textContent = i === null ? out.dataset.v : utc(start + i * width);
    $$(".cx,.zm", figure).forEach(e => e.remove());
    $$(".legend b", figure).forEach((out, k) => {
      const texts = series[k].split("|");
      out.textContent = (texts[i] ?? out.dataset.v) || "–";
    });
    if (i !== null) $$(".gr", figure).forEach(grid => {
      const { height } = grid.parentNode.viewBox.baseVal, mark = (name, path) => {
        const e = grid.cloneNode();
        e.setAttribute("class", name);
        e.setAttribute("d", path);
        grid.parentNode.append(e);
      };
      mark("cx", `M${i} 0V${height}`);
      if (from !== null) mark("zm", `M${from} 0H${i}V${height}H${from}z`);
    });
  };
  const read = (figure, i) => {
    index = i;
    over = i === null ? from = null : figure;
    $$(".chart").forEach(e => e.dataset.x === figure.dataset.x && put(e, i));
  };
  const zoom = (figure, first, end) => {
    const [start, width] = scale(figure), url = new URL(location), at = (name, i) => url.searchParams.set(name, new Date(start + i * width).toISOString());
    at("from", Math.floor(first));
    at("to", Math.ceil(end));
    location = url;
  };
  const hear = (type, act) => on(type, e => {
    const figure = e.target.closest?.(".plot")?.parentNode;
    if (!figure) return act === read && over && read(over, null);
    const { left, width } = $(".ch", figure).getBoundingClientRect(), count = scale(figure)[2];
    act(figure, within((e.clientX - left) / width * count, count), e, count);
  });
  hear("pointermove", read);
  hear("pointerdown", (figure, i, e) => { if (!e.button) from = i; });
  hear("pointerup", (figure, i) => {
    if (from !== null && from !== i) zoom(figure, Math.min(from, i), Math.max(from, i) + 1);
    from = null;
  });
  hear("focusout", figure => read(figure, null));
  hear("keydown", (figure, _, e, count) => {
    const at = index ?? count, half = { "+": count / 4, "-": count }[e.key], to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: count }[e.key];
    if (!plain(e)) return;
    if (e.key === "Escape") read(figure, null);
    if (half) zoom(figure, (index ?? count / 2) - half, (index ?? count / 2) + half);
    if (to === undefined) return;
    e.preventDefault();
    read(figure, within(to, count));
  });
}
