// A link from another site comes without the cookie (SameSite=Strict). Who is logged in all the same goes on.
const form = document.querySelector("form[data-target]");
if (form && !document.getElementById("refused")) {
  const answer = await fetch("/login?next=" + encodeURIComponent(form.dataset.target), { redirect: "manual" });
  if (answer.type === "opaqueredirect") location.replace(form.dataset.target);
}
