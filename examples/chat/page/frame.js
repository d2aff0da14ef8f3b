// The parts around the messages: the side panels of a narrow window, short notices, the theme, the invitation link.

import { byId } from "./elements.js";

/** `room()` returns the name of the room on screen. */
export function listenToFrame({ room }) {
  byId("theme").addEventListener("click", switchTheme);
  byId("invite").addEventListener("click", () => invite(room()));
  byId("empty-invite").addEventListener("click", () => invite(room()));
  for (const button of document.querySelectorAll("[data-open]")) button.addEventListener("click", () => openSide(button.dataset.open));
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", closeSides);
}

let noticeEnds = null;

/** Shows a short notice above the messages for `showMs`. 0: until another notice takes its place. */
export function notify(text, tone = "", showMs = 4000) {
  clearTimeout(noticeEnds);
  byId("notice").className = `notice ${tone}`;
  byId("notice").textContent = text;
  byId("notice").hidden = false;
  if (showMs) noticeEnds = setTimeout(() => { byId("notice").hidden = true; }, showMs);
}

let opener = null; // the element that gets the keyboard focus back

function openSide(id) {
  const side = byId(id);
  if (getComputedStyle(side).position !== "fixed") return; // the window is wide enough to show it all the time
  opener = document.activeElement;
  side.classList.add("open");
  side.querySelector("[data-close]").focus();
  document.querySelector(".veil").hidden = false;
  for (const button of document.querySelectorAll(`[data-open=${id}]`)) button.ariaExpanded = "true";
}

export function closeSides() {
  for (const side of document.querySelectorAll(".side.open")) side.classList.remove("open");
  for (const button of document.querySelectorAll("[data-open]")) button.ariaExpanded = "false";
  document.querySelector(".veil").hidden = true;
  opener?.focus();
  opener = null;
}

async function invite(room) {
  const link = new URL(location.pathname, location.href);
  link.searchParams.set("room", room);
  try {
    await navigator.clipboard.writeText(link.href);
    notify("Link copied", "good");
  } catch {
    notify(link.href, "good", 12_000); // plain HTTP has no clipboard, so show the link
  }
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("chat.theme", root.dataset.theme);
}
