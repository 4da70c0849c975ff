// The page of one job.
import * as clipboard from "./clipboard.js";
import { Curves } from "./curves.js";
import * as eventDialog from "./event-dialog.js";
import { LogView } from "./log-view.js";

const api = document.querySelector("[data-job-api]").dataset.jobApi;
const curves = new Curves(document.querySelector("[data-curves]"));
new LogView(document.querySelector("[data-log]"), `${api}/logs/stream`);
clipboard.start();
eventDialog.start(api);
document.addEventListener("htmx:sse:after:message", () => curves.soon());
