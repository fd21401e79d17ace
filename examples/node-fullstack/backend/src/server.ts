import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { join, normalize } from "node:path";
import mime from "mime";

const entries = [{ name: "Grace", text: "Found a moth in the relay." }];

createServer(async (request, response) => {
  const path = normalize(new URL(request.url!, "http://localhost").pathname);
  if (path === "/api/entries") {
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(entries));
    return;
  }
  try {
    const file = join("public", path === "/" ? "index.html" : path);
    response.setHeader("Content-Type", mime.getType(file) ?? "application/octet-stream");
    response.end(await readFile(file));
  } catch {
    response.statusCode = 404;
    response.end("not found\n");
  }
}).listen(3000);
