// Shows the headline of the status, live.
const headline = document.getElementById("headline");
const show = (status) => { headline.textContent = status.headline; };

async function ask() {
  const answer = await fetch("status");
  const told = await answer.json();
  if (answer.ok) show(told); else headline.textContent = told.error;
}

ask();
new EventSource("events").addEventListener("status", (event) => show(JSON.parse(event.data)));
