// Server-sent events of an answer that fetch has begun: unlike EventSource it tells statuses, comments and the end.

/** Yields the JSON of each event, and null for each comment (a sign of life). Ends with the connection. */
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let lines = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n/);
    rest = parts.pop();
    for (const line of parts) {
      if (line.startsWith(":")) yield null;
      else if (line.startsWith("data:")) lines.push(line.slice(5));
      else if (line === "" && lines.length > 0) {
        const data = lines.join("\n");
        lines = [];
        if (data.trim() !== "[DONE]") yield JSON.parse(data);
      }
    }
  }
}
