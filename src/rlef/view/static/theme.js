// Before anything is drawn, so that a page of the other theme never flashes up.
try {
  const theme = localStorage.getItem("rlef-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is off: the system's theme.
}
