// The page of a job: no refresh of what has ended, texts to copy, a log that follows its end.
{
  hold(() => $("[data-still]")?.dataset.still);
  part(root => {
    // navigator.clipboard exists under https alone.
    $$("[data-copy]", root).forEach(b => b.onclick = () => {
      const of = d.getElementById(b.dataset.copy), box = el("textarea", { value: of.value ?? of.textContent });
      b.after(box);
      box.select();
      say(...d.execCommand("copy") ? ["Copied.", "good"] : ["Select it to copy it."]);
      box.remove();
      b.focus();
    });
    $$("[data-follow]").forEach(log => {
      log.onscroll = () => { log.away = log.scrollTop + log.clientHeight < log.scrollHeight - 9; };
      $$("li", log).slice(0, -2e3).forEach(e => e.remove());
      if (!log.away) log.scrollTop = 1e9;
    });
  });
}
