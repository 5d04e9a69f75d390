const stream = new EventSource("/stream");
const show = (text) => { document.getElementById("time").textContent = text; };
stream.onmessage = (event) => show(event.data + " UTC");
stream.addEventListener("ended", () => { stream.close(); location.reload(); });
stream.onerror = () => {
  show("not connected");
  // Refused, not interrupted: whoever is signed out gets no stream.
  if (stream.readyState === EventSource.CLOSED) location.reload();
};
