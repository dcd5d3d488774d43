// Follows jobs on pages of the application; see templates/forge_jobs/progress.html.
{
  const WORDS = {
    pending: "It waits for its turn.", in_progress: "It runs.", done: "It is done.",
    failed: "It failed and is tried again.", dead: "It failed.",
    cancelled: "It was cancelled.", gone: "This link has expired.",
  };
  const follow = box => {
    const bar = box.querySelector("progress"), words = box.querySelector("[role=status]");
    let pause = 1e3;
    const say = (state, text) => {
      box.dataset.state = state;
      words.textContent = text ?? WORDS[state];
    };
    const show = job => {
      const {progress} = job;
      if (job.is_successful) bar.value = bar.max;
      else if (progress?.total) Object.assign(bar, {max: progress.total, value: progress.done});
      else bar.removeAttribute("value");
      bar.hidden = job.is_ready && !job.is_successful;
      say(job.ending === "cancelled" ? job.ending : job.status, job.is_ready ? null : progress?.message);
      box.dispatchEvent(new CustomEvent("forge-job", {bubbles: true, detail: job}));
    };
    const look = async () => {
      let job = null;
      try {
        const answer = await fetch(box.dataset.forgeJob, {headers: {Accept: "application/json"}});
        if (answer.status === 404) {
          bar.hidden = true;
          return say("gone");
        }
        if (answer.ok) job = await answer.json();
      } catch { /* no network; look again */ }
      if (job) show(job);
      pause = job ? 1e3 : Math.min(2 * pause, 3e4);
      if (!job?.is_ready) setTimeout(look, pause);
    };
    say("pending");
    look();
  };
  document.querySelectorAll("[data-forge-job]:not([data-state])").forEach(follow);
}
