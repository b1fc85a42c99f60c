// Ask a running server from JavaScript: node examples/call_api.mjs samples/seven.png [URL]
//
// Start the server with `python app.py`. Node 18 or newer; nothing has to be installed. A page of
// your own does the same with canvas.toDataURL() as the image, where the server allows its origin.

import { readFile } from "node:fs/promises";

function stop(reason) {
  console.error(`error: ${reason}`);
  process.exit(1);
}

const [picture, server = "http://127.0.0.1:7860"] = process.argv.slice(2);
if (!picture) stop("name a picture: node examples/call_api.mjs samples/seven.png");
const file = await readFile(picture).catch((error) => stop(`cannot read it: ${error.message}`));
const response = await fetch(`${server}/predict`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ image: file.toString("base64") }),
}).catch(() => stop(`no server answers at ${server}: start it with \`python app.py\``));
const answer = await response.json();
if (!response.ok) stop(answer.detail); // what is wrong with the picture
const sure = (100 * answer.confidence).toFixed(1);
console.log(`${answer.digit}, ${sure}% sure: ${answer.verdict} ${answer.reason}`);
