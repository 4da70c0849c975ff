// A job's log as it grows: resumed at the byte where it was cut, so every line comes exactly once.
const AGAIN_MS = 2000; // after a refusal; a connection that is merely cut is the browser's own to restore

export class LogStream {
  constructor(path, { onText, onEnd, onReset }) {
    this.path = path;
    this.on = { text: onText, end: onEnd, reset: onReset };
    this.offset = 0; // bytes taken
    this.ended = false;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.pause() : this.open()));
    this.open();
  }

  open() {
    if (this.ended || this.source || document.hidden) return;
    const source = new EventSource(`${this.path}?offset=${this.offset}`);
    this.source = source;
    source.addEventListener("log", (event) => this.take(event));
    source.addEventListener("end", () => {
      this.ended = true;
      this.pause();
      this.on.end();
    });
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED || this.source !== source) return; // else it reconnects by itself
      this.pause();
      this.timer = setTimeout(() => this.open(), AGAIN_MS);
    });
  }

  take(event) {
    const { offset, text } = JSON.parse(event.data);
    if (offset !== this.offset) {
      // The log was made anew, or is another one now: begin again.
      this.pause();
      this.offset = 0;
      this.on.reset();
      this.open();
      return;
    }
    this.offset = Number(event.lastEventId);
    this.on.text(text);
  }

  // A page that nobody sees holds no connection: browsers have six for each server.
  pause() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}
