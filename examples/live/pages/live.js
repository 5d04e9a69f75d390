const id = (name) => document.getElementById(name);
const reasons = { logout: "you signed out in another tab", expired: "it was not used for too long", revoked: "it was ended on another device or by the administrator" };

const stream = new EventSource("/stream");
const chat = new WebSocket("/chat");

// ended says why, and offers to sign in.
async function ended() {
  stream.close();
  chat.close();
  id("say").hidden = true;
  const { reason } = await (await fetch("/why")).json();
  id("ended").textContent = "Your session has ended: " + (reasons[reason] || reason || "you are not signed in") + ".";
  id("ended").hidden = id("again").hidden = false;
}

stream.onmessage = (event) => { id("now").textContent = event.data; };
stream.addEventListener("ended", ended);
// Refused, not interrupted: whoever is signed out gets no stream.
stream.onerror = () => { if (stream.readyState === EventSource.CLOSED) ended(); };
chat.onclose = (event) => { if (event.code === 4001) ended(); };
chat.onmessage = (event) => {
  const line = document.createElement("li");
  line.textContent = event.data;
  id("said").append(line);
};
id("say").onsubmit = (event) => {
  event.preventDefault();
  chat.send(id("text").value);
  id("text").value = "";
};
