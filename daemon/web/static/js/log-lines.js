// A log's text as lines. A progress bar rewrites its line with "\r": shown is what it wrote last, as a terminal shows it.
const ANSI = /\x1b\[[0-9;?]*[A-Za-z]/g;
const ERROR = /\b(\w*error|\w*exception|traceback|critical|fatal|failed|out of memory)\b/i;
const WARNING = /\b(warn|\w*warning|deprecated)\b/i;

export function levelOf(line) {
  return ERROR.test(line) ? "error" : WARNING.test(line) ? "warning" : "";
}

export class LogLines {
  constructor() {
    this.lines = []; // whole lines, and last the one that is still being written
    this.open = ""; // that one as it came, with its "\r"
  }

  // Take more of the text; the index of the first line that changed.
  append(text) {
    const first = Math.max(0, this.lines.length - 1);
    const pieces = (this.open + text).split("\n");
    if (this.lines.length) this.lines.pop();
    for (const piece of pieces) this.lines.push(visible(piece));
    this.open = pieces.at(-1);
    const rewritten = this.open.lastIndexOf("\r", this.open.length - 2);
    if (rewritten > 0) this.open = this.open.slice(rewritten); // a bar of hours must not grow without end
    return first;
  }

  clear() {
    this.lines = [];
    this.open = "";
  }

  // How many lines there are; a last one that is empty is only the place where the next will stand.
  get count() {
    return this.lines.length - (this.lines.at(-1) === "" ? 1 : 0);
  }
}

function visible(piece) {
  const line = piece.endsWith("\r") ? piece.slice(0, -1) : piece;
  const shown = line.slice(line.lastIndexOf("\r") + 1);
  return shown.includes("\x1b") ? shown.replace(ANSI, "") : shown;
}
