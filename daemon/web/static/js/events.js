// The journal's page: bodies open in the dialog.
import * as dialog from "./event-dialog.js";

dialog.start("/api/cloud");
