// Chooses the theme: that of `?theme=`, or the one chosen last time, or the system's. It runs before the first paint, so
// that a dark page does not flash white.
{
  const asked = new URLSearchParams(location.search).get("theme");
  const chosen = localStorage.getItem("chat.theme");
  const theme = [asked, chosen].find((name) => name === "light" || name === "dark");
  if (theme) document.documentElement.dataset.theme = theme;
}
