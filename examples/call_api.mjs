// Ask a running server from JavaScript: node examples/call_api.mjs seven.png [URL]
//
// Start the server with `python app.py`. Node 18 or newer; nothing has to be installed. A page of
// your own does the same with canvas.toDataURL() as the image, where the server allows its origin.

import { readFile } from "node:fs/promises";

const [picture, server = "http://127.0.0.1:7860"] = process.argv.slice(2);
const image = (await readFile(picture)).toString("base64");
const response = await fetch(`${server}/predict`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ image }),
});
const answer = await response.json();
if (!response.ok) {
  console.error(`error: ${answer.detail}`);
  process.exit(1);
}
const sure = (100 * answer.confidence).toFixed(1);
console.log(`${answer.digit}, ${sure}% sure: ${answer.verdict} ${answer.reason}`);
