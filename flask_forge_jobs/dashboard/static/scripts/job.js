// The page of a job: no refresh of what has ended, texts to copy, a log that follows its end.
{
  hold(() => $("[data-still]")?.dataset.still);
  const text = of => {
    const copy = of.cloneNode(true);
    $$("s", copy).forEach(each => each.remove());
    return copy.value ?? copy.textContent;
  };
  part(root => {
    $$("[data-copy]", root).forEach(b => b.onclick = async () => {
      const of = d.getElementById(b.dataset.copy);
      await navigator.clipboard.writeText(of ? text(of) : b.dataset.copy);
      say("Copied.", "good");
    });
    $$("[data-follow]").forEach(log => {
      log.onscroll = () => { log.away = log.scrollTop + log.clientHeight < log.scrollHeight - 9; };
      if (!log.away) log.scrollTop = 1e9;
    });
  });
}
