// The log on a job's page. Only the lines in sight are elements, so 100,000 lines scroll like ten.
import { copy } from "./clipboard.js";
import { make } from "./dom.js";
import { LogLines, levelOf } from "./log-lines.js";
import { LogStream } from "./log-stream.js";

const LINE_PX = 19; // as .log-shown has it
const MARGIN_LINES = 20; // drawn above and below what is in sight, so that scrolling shows no gaps
const SEARCH_MS = 150;
const MOST_COPIED = 5_000_000; // characters

export class LogView {
  constructor(card, path) {
    const find = (name) => card.querySelector(`[data-log-${name}]`);
    this.view = find("view");
    this.all = card.querySelector(".log-all");
    this.shown = card.querySelector(".log-shown");
    this.words = find("count");
    this.followButton = find("follow");
    this.log = new LogLines();
    this.picked = null; // indexes of the lines that search and level let through; null: all
    this.needle = "";
    this.level = "all";
    this.follow = true;
    this.ended = false;
    this.drawing = false;
    this.listen(find("search"), find("level"), find("copy"));
    this.stream = new LogStream(path, {
      onText: (text) => this.append(text),
      onEnd: () => { this.ended = true; this.draw(); },
      onReset: () => { this.log.clear(); this.pick(); },
    });
  }

  listen(search, level, copyButton) {
    let timer = null;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => { this.needle = search.value.toLowerCase(); this.pick(); }, SEARCH_MS);
    });
    level.addEventListener("change", () => { this.level = level.value; this.pick(); });
    copyButton.addEventListener("click", () => this.copy());
    this.followButton.addEventListener("click", () => this.setFollow(!this.follow));
    this.view.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.view);
  }

  // Whoever scrolls up wants to read; whoever comes back to the end wants to follow again.
  scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.view;
    const atEnd = scrollTop + clientHeight >= scrollHeight - LINE_PX;
    if (this.expectedTop !== undefined && Math.abs(scrollTop - this.expectedTop) < 2) this.expectedTop = undefined;
    else if (atEnd !== this.follow) this.setFollow(atEnd);
    this.draw();
  }

  setFollow(follow) {
    this.follow = follow;
    this.followButton.setAttribute("aria-pressed", String(follow));
    this.draw();
  }

  append(text) {
    const first = this.log.append(text);
    if (this.picked) {
      while (this.picked.length && this.picked.at(-1) >= first) this.picked.pop();
      this.pickFrom(first);
    }
    this.draw();
  }

  pick() {
    this.picked = this.needle || this.level !== "all" ? [] : null;
    if (this.picked) this.pickFrom(0);
    this.draw();
  }

  pickFrom(first) {
    for (let index = first; index < this.log.lines.length; index++) {
      const line = this.log.lines[index];
      if (this.needle && !line.toLowerCase().includes(this.needle)) continue;
      const level = this.level === "all" ? "" : levelOf(line);
      if (this.level === "error" && level !== "error") continue;
      if (this.level === "warning" && !level) continue;
      this.picked.push(index);
    }
  }

  get count() {
    return this.picked ? this.picked.length : this.log.count;
  }

  draw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => { this.drawing = false; this.drawNow(); });
  }

  drawNow() {
    const count = this.count;
    this.all.style.height = `${Math.max(1, count) * LINE_PX}px`;
    if (this.follow) {
      this.expectedTop = Math.max(0, this.view.scrollHeight - this.view.clientHeight);
      this.view.scrollTop = this.expectedTop;
    }
    const first = Math.max(0, Math.floor(this.view.scrollTop / LINE_PX) - MARGIN_LINES);
    const last = Math.min(count, Math.ceil((this.view.scrollTop + this.view.clientHeight) / LINE_PX) + MARGIN_LINES);
    this.shown.style.transform = `translateY(${first * LINE_PX}px)`;
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.row(this.picked ? this.picked[place] : place));
    this.shown.replaceChildren(...rows);
    this.tell(count);
  }

  row(index) {
    const line = this.log.lines[index];
    const row = make("div", `log-line ${levelOf(line)}`);
    row.dataset.line = index + 1;
    const at = this.needle ? line.toLowerCase().indexOf(this.needle) : -1;
    if (at < 0) row.textContent = line;
    else row.append(line.slice(0, at), make("mark", "", line.slice(at, at + this.needle.length)), line.slice(at + this.needle.length));
    return row;
  }

  tell(count) {
    const all = this.log.count;
    const words = this.picked ? `${count.toLocaleString("en")} of ${all.toLocaleString("en")} lines` : `${all.toLocaleString("en")} lines`;
    const text = all ? words + (this.ended ? "" : ", live") : this.ended ? "empty" : "nothing yet";
    if (this.words.textContent !== text) this.words.textContent = text;
  }

  copy() {
    const lines = this.picked ? this.picked.map((index) => this.log.lines[index]) : this.log.lines;
    const text = lines.join("\n");
    copy(text.slice(-MOST_COPIED), text.length > MOST_COPIED ? "Copied the end of the log" : "Copied the log");
  }
}
