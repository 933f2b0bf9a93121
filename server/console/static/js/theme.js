// The colours that were chosen, before anything is drawn: a module comes after the first picture, which would flash.
// Not a module for that reason; what the button does is in shell.js.
{
  const kept = localStorage.getItem("callmeback.theme");
  if (kept) document.documentElement.dataset.theme = kept;
}
