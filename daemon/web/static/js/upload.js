// Folders from the browser: what was dropped or chosen, and sending it to the daemon in slices.
import { order } from "./orders.js";
import { problemOf, showProblem } from "./toasts.js";

const API = "/api/cloud/uploads";
const SLICE = 4 * 1024 * 1024; // bytes; the daemon takes twice as much in one request
const AT_ONCE = 4; // files on their way at the same time

// [{path, file}] of a drop, folders read to their ends.
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return chosen(transfer.files);
  return (await Promise.all(entries.map((entry) => read(entry, "")))).flat();
}

export function chosen(files) {
  return [...files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

async function read(entry, above) {
  const path = above + entry.name;
  if (entry.isFile) return [{ path, file: await new Promise((done, failed) => entry.file(done, failed)) }];
  const reader = entry.createReader();
  const found = [];
  for (;;) { // a reader gives its entries in portions; an empty one is the end
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map((one) => read(one, `${path}/`)))).flat();
}

// A folder's name, and its files with paths below it; loose files make a folder of their own.
export function folderOf(items) {
  const tops = new Set(items.map(({ path }) => path.split("/")[0]));
  const inOne = tops.size === 1 && items.every(({ path }) => path.includes("/"));
  return {
    name: inOne ? [...tops][0] : "dataset",
    items: inOne ? items.map(({ path, file }) => ({ path: path.slice(path.indexOf("/") + 1), file })) : items,
    bytes: items.reduce((sum, { file }) => sum + file.size, 0),
  };
}

// Send all; {upload_id, path} on the daemon's machine, or null (the reason was shown). tell(bytesSent)
export async function send(folder, tell) {
  const begun = await order("POST", API);
  if (!begun) return null;
  const waiting = [...folder.items];
  let sent = 0;
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const ok = await sendFile(begun.upload_id, next, (bytes) => tell((sent += bytes)));
      if (!ok) { waiting.length = 0; return false; }
    }
    return true;
  };
  const done = await Promise.all(Array.from({ length: AT_ONCE }, worker));
  if (done.every(Boolean)) return begun;
  remove(begun.upload_id);
  return null;
}

async function sendFile(id, { path, file }, tell) {
  let offset = 0;
  do {
    const slice = file.slice(offset, offset + SLICE);
    const answer = await fetch(`${API}/${id}/file?name=${encodeURIComponent(path)}&offset=${offset}`, {
      method: "PUT", body: slice, headers: { "Content-Type": "application/octet-stream" },
    }).catch(() => null);
    if (!answer?.ok) {
      showProblem(answer ? await problemOf(answer) : { title: "tunerd cannot be reached", detail: `${path} was not sent. Try again.` });
      return false;
    }
    offset += slice.size;
    tell(slice.size);
  } while (offset < file.size);
  return true;
}

export function remove(id) {
  return fetch(`${API}/${id}`, { method: "DELETE" }).catch(() => null); // else the daemon removes it after a day
}
