// The page of a job: texts to copy, and a log that follows its end.
{
  on("click", e => {
    const source = d.getElementById(e.target.dataset?.copy);
    if (!source) return;
    // navigator.clipboard exists under https alone.
    const box = d.createElement("textarea");
    box.value = source.textContent;
    e.target.after(box);
    box.select();
    d.execCommand("copy");
    box.remove();
    e.target.focus();
    say("Copied.", "good");
  });
  parts.push(() => $$("[data-follow]").forEach(log => {
    log.onscroll = () => { log.away = log.scrollTop + log.clientHeight < log.scrollHeight - 9; };
    $$("li", log).slice(0, -2e3).forEach(e => e.remove());
    if (!log.away) log.scrollTop = 1e9;
  }));
}
