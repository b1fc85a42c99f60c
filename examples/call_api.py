"""Ask a running server, from plain Python: python examples/call_api.py samples/seven.png [URL].

Start the server with `python app.py`. This file needs nothing else from the project.
"""

import base64
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

if len(sys.argv) < 2:
    sys.exit("error: name a picture: python examples/call_api.py samples/seven.png")
server = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:7860"
if not server.startswith(("http://", "https://")):
    sys.exit(f"error: {server} is no address of a server: it begins with http:// or https://")
try:
    picture = base64.b64encode(Path(sys.argv[1]).read_bytes()).decode()
except OSError as error:
    sys.exit(f"error: {sys.argv[1]} cannot be read: {error.strerror}")
request = urllib.request.Request(
    f"{server}/predict",
    data=json.dumps({"image": picture}).encode(),
    headers={"Content-Type": "application/json"},
)
try:
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
except urllib.error.HTTPError as error:  # what is wrong with the picture, as JSON as well
    sys.exit(f"error: {json.load(error)['detail']}")
except OSError:
    sys.exit(f"error: no server answers at {server}: start it with `python app.py`")
print(f"{answer['digit']}, {answer['confidence']:.1%} sure: {answer['verdict']} {answer['reason']}")
