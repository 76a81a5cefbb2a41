// Keyboard, theme and the help dialog, for every page.
(() => {
  const THEMES = ["auto", "light", "dark"];
  const GO = { f: "/", a: "/alerts", m: "/models", w: "/maintenance", g: "/gateways" };
  let leader = 0;

  const typing = (el) => el.closest("input, textarea, select, [contenteditable]");
  const theme = () => {
    const now = (document.cookie.match(/offbeat_theme=(\w+)/) || [, "auto"])[1];
    const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    document.cookie = `offbeat_theme=${next}; path=/; max-age=31536000; samesite=lax`;
    setDark(next === "auto" ? null : next === "dark");
    label();
  };
  const label = () => {
    const now = (document.cookie.match(/offbeat_theme=(\w+)/) || [, "auto"])[1];
    const button = document.getElementById("theme");
    if (button) button.textContent = { auto: "Auto", light: "Light", dark: "Dark" }[now];
  };
  const help = () => document.getElementById("keys")?.showModal();
  const move = (step) => {
    const links = [...document.querySelectorAll(".content tbody a")];
    const at = links.indexOf(document.activeElement);
    links[Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + step))]?.focus();
  };

  document.addEventListener("click", (event) => {
    if (event.target.closest("#theme")) theme();
    if (event.target.closest("#help")) help();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    if (Date.now() - leader < 1500 && GO[event.key]) {
      location.href = GO[event.key];
    } else if (event.key === "g") {
      leader = Date.now();
      return;
    } else if (event.key === "/") {
      event.preventDefault();
      document.querySelector(".search input, input[type=search]")?.focus();
    } else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "t") theme();
    else if (event.key === "?") help();
    leader = 0;
  });
})();
