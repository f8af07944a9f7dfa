"use strict";
(() => {
  const SILENCE_MS = 90000; // a service that works sends a comment far more often

  /** Read server-sent events of a response until they end. `heard` gets the data of each, parsed.
   * Resolves to whether the stream came to its own end (`[DONE]`), not the network's. */
  rlrig.readEvents = async (response, heard, giveUp, silenceMs = SILENCE_MS) => {
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const timer = setTimeout(giveUp, silenceMs);
      let piece;
      try {
        piece = await reader.read();
      } finally {
        clearTimeout(timer);
      }
      rest += piece.done ? decoder.decode() : decoder.decode(piece.value, { stream: true });
      const events = rest.split(/\r?\n\r?\n/);
      rest = events.pop();
      for (const text of events) {
        const data = text
          .split(/\r?\n/)
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(5).replace(/^ /, ""))
          .join("\n");
        if (data === "[DONE]") return true;
        if (!data) continue;
        try {
          heard(JSON.parse(data));
        } catch (error) {
          await reader.cancel();
          throw error;
        }
      }
      if (piece.done) return false;
    }
  };
})();
