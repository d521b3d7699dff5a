// Where a provider's sign-in ends: shows the code, or why there is none. The address keeps neither.

const FAILURES = new Map([
  ["declined", "You or your organisation's provider broke the sign-in off."],
  ["expired", "This sign-in was used, has ended, or began in another browser. Begin again."],
  ["provider", "Your organisation's provider did not answer as it should. Try again, or tell your administrator."],
  ["unverified", "Your organisation's provider has not verified your e-mail address."],
  ["not-admitted", "You have no account here. Ask your administrator for an invitation."],
  ["internal", "The cloud failed to do this. Tell its operator."],
]);

const brought = new URLSearchParams(location.hash.slice(1));
history.replaceState(null, "", location.pathname);
const outcome = document.getElementById("outcome");
if (brought.has("sign-in-code")) {
  outcome.textContent = "Within a minute, give this code to the program in which you began, and to nobody who asks you for it:";
  document.getElementById("code").textContent = brought.get("sign-in-code");
} else if (brought.has("sign-in-failed")) {
  outcome.textContent = FAILURES.get(brought.get("sign-in-failed")) ?? FAILURES.get("internal");
} else {
  outcome.textContent = "Sign-ins through an organisation's own provider end here.";
}
