// Runs before the first paint, so that a dark page does not flash up white: ?theme=, else what was chosen, else the system's.
{
  const asked = new URLSearchParams(location.search).get("theme");
  const chosen = localStorage.getItem("chat.theme");
  const theme = [asked, chosen].find((name) => name === "light" || name === "dark");
  if (theme) document.documentElement.dataset.theme = theme;
}
